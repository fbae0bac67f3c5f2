// Package throttle shares limits between all replicas, through Redis.
//
// The [Gate] decides whether a pass may begin. It asks the others: a [Breaker]
// for each system, which keeps all replicas from a system that is away; the
// [Budget] of calls; and [Places], which bound the passes under way.
//
// A [Budget] bounds calls per second: over any time of t seconds at most burst
// + rate*t calls are allowed, counted by Redis's clock, over all replicas. They
// stand in one line. A 429 that one replica meets slows all of them down.
//
// [Slots] bound what runs at once: at most n holders, in the order in which
// the replicas came. A holder that vanishes loses its slot when its lease ends.
//
// Limits: without Redis nothing is allowed ([Unavailable]). A replica learns of
// another one's 429 with its next call, or within a quarter of a second while
// its calls wait. A slot is a lease, not a lock:
// a holder that could not reach Redis for a whole lease is not told that another
// may have taken its place, so for that time more than n can run.
package throttle

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"spillway/internal/contact"
)

// redisTimeout bounds one question to Redis, go-redis's repetitions included.
const redisTimeout = 5 * time.Second

// Unavailable reports that no call was allowed: the caller's time ended first,
// the limit is closed for longer than is worth waiting, or Redis is away. It
// is a [contact.Outage].
type Unavailable struct {
	Attempt    string        // what was attempted, with the limit's name
	RetryAfter time.Duration // how long the limit stays closed, if that is known
	Err        error         // why

	held bool // by the limit itself, not by Redis or the caller's end
}

var _ contact.Held = (*Unavailable)(nil)

func (e *Unavailable) Error() string { return fmt.Sprintf("%s: %v", e.Attempt, e.Err) }

// Unwrap returns the cause: the context's error or Redis's.
func (e *Unavailable) Unwrap() error { return e.Err }

// Outage returns RetryAfter.
func (e *Unavailable) Outage() time.Duration { return e.RetryAfter }

// Held reports whether the limit has no room in the time that the caller has.
func (e *Unavailable) Held() bool { return e.held }

// pause sleeps for d, or until ctx ends or early is signalled. A nil early
// never is.
func pause(ctx context.Context, d time.Duration, early <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-early:
		return nil
	case <-timer.C:
		return nil
	}
}

// jitter returns a random duration below d.
func jitter(d time.Duration) time.Duration {
	return rand.N(max(d, 1)) //nolint:gosec // it spreads load, it guards nothing
}
