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
		batch := c.line.cut(c.batchSize.now()) // what came during the wait goes with it
		if len(batch) == 0 {
			release()
			continue
		}
		flights.Go(func() {
			deferred, _ := c.deliver(ctx, batch)
			c.line.land(batch, deferred)
			release()
			c.gate.grant() // the rate and the batch size may have changed
			c.look()
		})
	}
}

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
		at, ok := c.line.due(now, c.batchSize.now(), c.options.MaxLinger, c.gate.underWay())
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
	if err := c.held(ctx, time.Now()); err != nil {
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
