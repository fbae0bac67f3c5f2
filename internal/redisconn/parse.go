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
	u, hosts, err := split(rawURL)
	if err != nil {
		return nil, err
	}
	options := &redis.UniversalOptions{}
	if u.User != nil {
		options.Username = u.User.Username()
		options.Password, _ = u.User.Password()
	}
	path := strings.Split(strings.Trim(u.Path, "/"), "/")
	query := u.Query()
	secure := query.Get("tls") == "true"
	database, port := path[0], "6379"
	switch u.Scheme {
	case "redis":
	case "rediss":
		secure = true
	case "redis-sentinel":
		if options.MasterName = path[0]; options.MasterName == "" {
			return nil, errors.New("no name of a master, write redis-sentinel://HOST:PORT,HOST:PORT/NAME")
		}
		options.SentinelPassword = query.Get("sentinel_password")
		database, port = "", "26379"
		if len(path) > 1 {
			database = path[1]
		}
	case "redis-cluster":
		if database != "" && database != "0" {
			return nil, errors.New("a Redis Cluster has database 0 only, leave the database out")
		}
	default:
		return nil, errors.New("unknown scheme, use redis://, rediss://, redis-sentinel:// or redis-cluster://")
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
