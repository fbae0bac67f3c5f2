package redisconn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

var errNotURL = errors.New("not a URL, use redis://HOST:PORT/0")

// Parse reads the forms that [Open] takes. Its errors repeat nothing of the
// URL, which may hold a password.
func Parse(rawURL string) (*redis.UniversalOptions, error) {
	if strings.HasPrefix(rawURL, socketScheme) {
		return parseSocket(rawURL)
	}
	u, hosts, err := split(rawURL)
	if err != nil {
		return nil, err
	}
	options := &redis.UniversalOptions{}
	if u.User != nil {
		options.Username = u.User.Username()
		options.Password, _ = u.User.Password()
	}
	secure, sentinelPassword, err := parameters(u)
	if err != nil {
		return nil, err
	}
	path := strings.Split(strings.Trim(u.Path, "/"), "/")
	database, port, most := path[0], "6379", 1
	switch u.Scheme {
	case "redis", "rediss":
	case "redis-sentinel":
		if options.MasterName = path[0]; options.MasterName == "" {
			return nil, errors.New("no name of a master, write redis-sentinel://HOST:PORT,HOST:PORT/NAME")
		}
		options.SentinelPassword = sentinelPassword
		database, port, most = "", "26379", 2
		if len(path) > 1 {
			database = path[1]
		}
	case "redis-cluster":
		if database != "" && database != "0" {
			return nil, errors.New("a Redis Cluster has database 0 only, leave the database out")
		}
	default:
		return nil, errors.New("unknown scheme, use redis://, rediss://, redis-sentinel://, redis-cluster:// or unix://")
	}
	if len(path) > most {
		return nil, errors.New("the path has too many parts, write …/0 (for Sentinel …/NAME/0)")
	}
	if database != "" {
		if options.DB, err = strconv.Atoi(database); err != nil || options.DB < 0 {
			return nil, errors.New("the database is not a number, write …/0")
		}
	}
	for _, host := range hosts {
		addr, ok := address(host, port)
		if !ok {
			return nil, fmt.Errorf("no host or a wrong port, write %s://HOST:PORT", u.Scheme)
		}
		options.Addrs = append(options.Addrs, addr)
	}
	if len(options.Addrs) > 1 && (u.Scheme == "redis" || u.Scheme == "rediss") {
		return nil, errors.New("several hosts, use redis-sentinel:// or redis-cluster://")
	}
	if secure {
		// The server's name is taken from each address that is dialled.
		options.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return options, nil
}

const socketScheme = "unix://"

// parseSocket reads unix:///PATH?db=N. A socket's mode says who may use it, so
// there is no password in it, and nothing travels.
func parseSocket(rawURL string) (*redis.UniversalOptions, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host != "" || u.User != nil || len(u.Path) < 2 || u.Fragment != "" {
		return nil, errors.New("not the path of a socket, write unix:///run/redis.sock")
	}
	options := &redis.UniversalOptions{Addrs: []string{u.Path}}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("what follows the ? cannot be read, write ?db=0")
	}
	for name, values := range query {
		if name != "db" || len(values) > 1 {
			return nil, errors.New("unknown parameter or one given twice, only db may follow the ? of a socket")
		}
		if options.DB, err = strconv.Atoi(values[0]); err != nil || options.DB < 0 {
			return nil, errors.New("the database is not a number, write ?db=0")
		}
	}
	return options, nil
}

// parameters reads what follows the question mark. Nothing there is ignored: a
// misspelt tls= would send the password and everything else in plain text.
func parameters(u *url.URL) (secure bool, sentinelPassword string, err error) {
	if u.Fragment != "" {
		return false, "", errors.New("holds a #, write it as %23")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return false, "", errors.New("what follows the ? cannot be read, write ?tls=true")
	}
	secure = u.Scheme == "rediss"
	for name, values := range query {
		switch {
		case name == "tls":
			on, err := strconv.ParseBool(values[0])
			if err != nil {
				return false, "", errors.New("tls is neither true nor false, write ?tls=true")
			}
			if secure && !on {
				return false, "", errors.New("rediss:// with tls=false contradicts itself, write redis:// or leave tls out")
			}
			secure = on
		case name == "sentinel_password" && u.Scheme == "redis-sentinel":
			sentinelPassword = values[0]
		default:
			// The name may be part of a password that holds a bare question mark.
			return false, "", errors.New("unknown parameter, only tls (and sentinel_password with redis-sentinel://) may follow the ?; write a ? in a password as %3F")
		}
		if len(values) > 1 {
			return false, "", errors.New("a parameter is given twice")
		}
	}
	return secure, sentinelPassword, nil
}

// split takes the list of hosts out before net/url sees it: that takes what
// follows a list's first colon for one port.
func split(rawURL string) (u *url.URL, hosts []string, err error) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return nil, nil, errNotURL
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndex(rest[:end], "@") + 1
	hosts = strings.Split(rest[at:end], ",")
	if u, err = url.Parse(scheme + "://" + rest[:at] + "host" + rest[end:]); err != nil {
		return nil, nil, errNotURL
	}
	return u, hosts, nil
}

// address returns a host with its port, or with the usual one.
func address(host, port string) (string, bool) {
	u, err := url.Parse("redis://" + host)
	if err != nil || u.Host != host || u.Hostname() == "" {
		return "", false
	}
	if u.Port() != "" {
		if _, err := strconv.ParseUint(u.Port(), 10, 16); err != nil {
			return "", false
		}
		port = u.Port()
	}
	return net.JoinHostPort(u.Hostname(), port), true
}
