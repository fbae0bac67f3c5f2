// Package metrics tells Prometheus what no single process counts: the contacts
// with outstanding work, the state of the CRM and the site, Redis and the
// queues, all read from Redis when they are asked for; and the calls to the CRM
// and the site, which their clients report.
//
// What is read from Redis is the same from every replica: take the maximum over
// replicas, never the sum. While Redis is away those metrics are missing, all
// but spillway_redis_up. A scrape never waits for Redis longer than two
// seconds, and many scrapes cost no more than one a second.
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
	// maxAge is how old an answer may be that several scrapes share: /metrics
	// is open, and asking for it in a loop must not load Redis.
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

// get returns what was read within the last second, or reads it. A client that
// is patient with Redis goes on for longer than its context: then get gives up,
// and no second reading begins before the first has ended.
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
