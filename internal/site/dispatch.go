package site

import (
	"context"
	"fmt"
	"sync"
	"time"

	"spillway/internal/contact"
)

// dispatch sends batches until the client is closed and the line is empty. When
// ctx ends, what is in line and under way is given up.
func (c *Client) dispatch(ctx context.Context) {
	defer close(c.done)
	defer c.abort()
	var flights sync.WaitGroup
	defer flights.Wait()
	for c.awaitBatch(ctx) {
		release, ok := c.turn(ctx)
		if !ok {
			continue
		}
		batch := c.line.cut(c.batch()) // what came during the wait goes with it
		if len(batch) == 0 {
			release()
			continue
		}
		flights.Go(func() {
			var f flight
			deferred, _ := c.deliver(ctx, &f, batch)
			c.line.land(batch, deferred)
			c.rest(ctx, f.pause)
			release()
			c.look()
		})
	}
}

// flight is one batch's use of a slot, all its requests included.
type flight struct {
	pause time.Duration // how long the slot rests afterwards
}

// longestRest bounds how long a slot rests after a batch that was halved often.
const longestRest = 10 * time.Second

// rest keeps a slot for as long as the site must be left alone. A client that
// is closed sends what is left without rest: it is not much, and somebody
// waits.
func (c *Client) rest(ctx context.Context, pause time.Duration) {
	if pause <= 0 {
		return
	}
	timer := time.NewTimer(min(pause, longestRest))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.closing:
	case <-ctx.Done():
	}
}

// batch returns how many contacts the next request may hold.
func (c *Client) batch() int { return min(max(c.guard.Batch(), 1), c.options.Batch) }

// awaitBatch returns true when a batch is due, false when there will be none.
func (c *Client) awaitBatch(ctx context.Context) bool {
	aborted := ctx.Done()
	for {
		if ctx.Err() != nil {
			c.failLine(errClosed)
			aborted = nil // the flights land soon, each with a wake
		}
		if c.line.finished() {
			return false
		}
		now := time.Now()
		at, ok := c.line.due(now, c.batch(), longestLinger, c.options.UnderWay())
		if ok && !at.After(now) {
			return true
		}
		var timer <-chan time.Time
		if ok {
			timer = time.After(at.Sub(now))
		}
		select {
		case <-c.wake:
		case <-timer:
		case <-aborted:
		}
	}
}

// turn waits for a slot; false: the line was answered without one.
func (c *Client) turn(ctx context.Context) (release func(), ok bool) {
	if err := c.options.Breaker.Allow(ctx); err != nil {
		c.failLine(err)
		return nil, false
	}
	release, err := c.slots.Acquire(ctx)
	if err == nil {
		return release, true
	}
	if ctx.Err() != nil {
		err = errClosed
	} else if _, outage := contact.AsOutage(err); outage {
		err = fmt.Errorf("waiting for a turn at the site: %w", err)
	} else {
		err = &Unavailable{Reason: "no turn at the site could be had; is Redis away?", cause: err}
	}
	c.failLine(err)
	return nil, false
}

// failLine answers everything in line with an error.
func (c *Client) failLine(err error) {
	for _, w := range c.line.clear() {
		w.fail(err)
	}
}
