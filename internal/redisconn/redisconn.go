// Package redisconn connects to Redis as SPILLWAY_REDIS_URL says: one server,
// Sentinel or Cluster. It builds the two kinds of client that Spillway needs,
// because ingest must answer within milliseconds and workers must sit out a
// restart of Redis.
package redisconn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Use says what a client is for.
type Use int

const (
	// ForIngest gives up early and obeys the deadline of each call, so that a
	// webhook is refused with 503 while Redis is away instead of hanging.
	ForIngest Use = iota
	// ForWorker is patient: asynq's dequeue loop does not pause after an
	// error, go-redis's own retries and back-off are what slows it down.
	ForWorker
)

// Open returns a client for one of these forms; it does not connect yet.
//
//	redis://[user:password@]host[:6379][/db]              one server
//	rediss://…                                            the same over TLS
//	redis-sentinel://[user:password@]host[:26379],…/NAME  the master NAME ("/NAME/db" for a database)
//	redis-cluster://[user:password@]host[:6379],…         a cluster, database 0
//
// Sentinel and Cluster take ?tls=true; Sentinel also ?sentinel_password=.
// The error never holds the password.
func Open(rawURL string, use Use) (redis.UniversalClient, error) {
	options, err := Parse(rawURL)
	if err != nil {
		return nil, err
	}
	switch use {
	case ForIngest:
		options.DialTimeout = time.Second
		options.ReadTimeout = 2 * time.Second
		options.WriteTimeout = 2 * time.Second
		options.ContextTimeoutEnabled = true
		options.MaxRetries = 1
		options.PoolSize = 64
	case ForWorker:
		options.DialTimeout = 5 * time.Second
		options.ReadTimeout = 5 * time.Second
		options.WriteTimeout = 5 * time.Second
		options.MaxRetries = 3
		options.MinRetryBackoff = 50 * time.Millisecond
		options.MaxRetryBackoff = time.Second
		// asynq's own loops and the passes share the pool.
		options.PoolSize = 96
	}
	if strings.HasPrefix(rawURL, "redis-cluster:") {
		cluster := options.Cluster()
		// A node that does not answer may have been replaced: ask another one
		// who has its slots, instead of dialling it five times for each try.
		cluster.DialerRetries = 1
		cluster.ClusterStateReloadInterval = time.Second
		return redis.NewClusterClient(cluster), nil
	}
	return redis.NewUniversalClient(options), nil
}

// Parse reads the forms that [Open] takes.
func Parse(rawURL string) (*redis.UniversalOptions, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("not a URL; use redis://host:6379/0")
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
			return nil, errors.New("the master's name is missing; use redis-sentinel://host1:26379,host2:26379/mymaster")
		}
		options.SentinelPassword = query.Get("sentinel_password")
		database, port = "", "26379"
		if len(path) > 1 {
			database = path[1]
		}
	case "redis-cluster":
		if database != "" && database != "0" {
			return nil, errors.New("a Redis Cluster has database 0 only; leave the database out")
		}
	default:
		return nil, fmt.Errorf("unknown scheme %q, use redis://, rediss://, redis-sentinel:// or redis-cluster://", u.Scheme)
	}
	if database != "" {
		if options.DB, err = strconv.Atoi(database); err != nil || options.DB < 0 {
			return nil, fmt.Errorf("the database %q is not a number; use …/0", database)
		}
	}
	for host := range strings.SplitSeq(u.Host, ",") {
		if host == "" {
			return nil, errors.New("the host is missing; use redis://host:6379/0")
		}
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		options.Addrs = append(options.Addrs, host)
	}
	if len(options.Addrs) > 1 && (u.Scheme == "redis" || u.Scheme == "rediss") {
		return nil, errors.New("several hosts need redis-sentinel:// or redis-cluster://")
	}
	if secure {
		// The server's name is taken from each address that is dialled.
		options.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return options, nil
}
