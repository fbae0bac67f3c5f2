// Package redisconn connects to Redis as SPILLWAY_REDIS_URL says: one server,
// Sentinel or Cluster. It builds the two kinds of client that Spillway needs,
// because ingest must answer within milliseconds and workers must sit out a
// restart of Redis.
package redisconn

import (
	"crypto/x509"
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

// Option changes what [Open] connects with.
type Option func(*redis.UniversalOptions)

// WithRoots verifies certificates of TLS connections by these authorities; nil
// stands for the system's.
func WithRoots(roots *x509.CertPool) Option {
	return func(o *redis.UniversalOptions) {
		if o.TLSConfig != nil {
			o.TLSConfig.RootCAs = roots
		}
	}
}

// Open returns a client for one of these forms; it does not connect yet.
//
//	redis://[user:password@]host[:6379][/db]              one server
//	rediss://…                                            the same over TLS
//	redis-sentinel://[user:password@]host[:26379],…/NAME  the master NAME ("/NAME/db" for a database)
//	redis-cluster://[user:password@]host[:6379],…         a cluster, database 0
//	unix:///PATH[?db=N]                                   one server on this machine, by its socket
//
// Sentinel and Cluster take ?tls=true; Sentinel also ?sentinel_password=. With
// TLS the server's certificate is always verified. The error never holds the
// password.
func Open(rawURL string, use Use, extra ...Option) (redis.UniversalClient, error) {
	options, err := Parse(rawURL)
	if err != nil {
		return nil, err
	}
	for _, apply := range extra {
		apply(options)
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
	if scheme, _, _ := strings.Cut(rawURL, ":"); strings.EqualFold(scheme, "redis-cluster") {
		cluster := options.Cluster()
		// A node that does not answer may have been replaced: ask another one
		// who has its slots, instead of dialling it five times for each try.
		cluster.DialerRetries = 1
		cluster.ClusterStateReloadInterval = time.Second
		return redis.NewClusterClient(cluster), nil
	}
	return redis.NewUniversalClient(options), nil
}
