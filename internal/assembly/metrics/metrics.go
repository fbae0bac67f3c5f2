// Package metrics gives Prometheus the figures that no single process counts:
// contacts with outstanding work, the state of the CRM and the sites, Redis and
// the queues. It reads them from Redis at each scrape. It also counts the calls
// that the clients of the CRM and the sites report.
//
// Every replica reports the same figures from Redis: take the maximum over
// replicas, never the sum. While Redis is away, all of them but
// spillway_redis_up are missing. A scrape waits for Redis two seconds at most,
// and any number of scrapes cost at most one reading a second.
//
// Labels come from fixed lists: no contact, address, key or URL is one.
package metrics

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// readTimeout is below the ten seconds that Prometheus waits for a scrape.
	readTimeout = 2 * time.Second
	// maxAge is how long scrapes share one reading. /metrics needs no password,
	// so requesting it in a loop must not load Redis.
	maxAge = time.Second
)

var errTooSlow = errors.New("no answer in time")

// shared reads something from Redis for many scrapes.
type shared[T any] struct {
	read func(ctx context.Context) (T, error)

	mu     sync.Mutex
	flight chan struct{} // closed when the reading under way ends; nil: there is none
	at     time.Time     // when value and err were read
	value  T
	err    error
}

// get returns the reading of the last second, or makes a new one. A Redis client
// with long time-outs may outlast its context. Then get returns without it, and
// no second reading begins before the first has ended.
func (s *shared[T]) get() (T, error) {
	s.mu.Lock()
	if !s.at.IsZero() && time.Since(s.at) < maxAge {
		defer s.mu.Unlock()
		return s.value, s.err
	}
	if s.flight == nil {
		s.flight = make(chan struct{})
		go s.fly(s.flight)
	}
	flight := s.flight
	s.mu.Unlock()

	timeout := time.NewTimer(readTimeout)
	defer timeout.Stop()
	select {
	case <-flight:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.value, s.err
	case <-timeout.C:
		var none T
		return none, errTooSlow
	}
}

func (s *shared[T]) fly(flight chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	value, err := s.read(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value, s.err, s.at, s.flight = value, err, time.Now(), nil
	close(flight)
}

// ofEach reads something of each site, a few at a time.
func ofEach[From, What any](ctx context.Context, sites map[string]From, read func(From, context.Context) (What, error)) (map[string]What, error) {
	const atOnce = 8
	all := make(map[string]What, len(sites))
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for name, from := range sites {
		group.Go(func() error {
			one, err := read(from, ctx)
			mu.Lock()
			defer mu.Unlock()
			all[name] = one
			return err
		})
	}
	return all, group.Wait()
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
