package site

import (
	"context"
	"sync"
	"time"
)

// slowRequest is how long a request may take before batches shrink. The
// connector defers contacts after 10 s.
const slowRequest = 8 * time.Second

// batchSize is the guard of a client that has no other: a request may hold as
// many contacts as set, half as many after a slow one, climbing back by one with
// every other that is answered.
type batchSize struct {
	mu      sync.Mutex
	current int
	largest int
}

func newBatchSize(largest int) *batchSize { return &batchSize{current: largest, largest: largest} }

// Batch returns how many contacts the next request may hold.
func (b *batchSize) Batch() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.current
}

// Sending does nothing.
func (b *batchSize) Sending(context.Context) {}

// Unsent does nothing.
func (b *batchSize) Unsent(context.Context) {}

// Answered takes note of a request that was.
func (b *batchSize) Answered(ctx context.Context, _ int, took, _ time.Duration) (pause time.Duration) {
	if took > slowRequest {
		return b.Refused(ctx, took)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = min(b.current+1, b.largest)
	return 0
}

// Refused takes note of a request that was.
func (b *batchSize) Refused(context.Context, time.Duration) (pause time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = max(b.current/2, 1)
	return 0
}

// storedSpan is over how long the pace is taken at which the site stores.
const storedSpan = 10 * time.Second

// pace is how many contacts the site stored lately.
type pace struct {
	mu     sync.Mutex
	stored rate
}

func newPace() *pace { return &pace{stored: rate{span: storedSpan}} }

// answered takes note of a request that was.
func (p *pace) answered(contacts int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stored.add(contacts, time.Now())
}

func (p *pace) perSecond() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stored.perSecond(time.Now())
}

// Pace returns how many contacts this client has stored a second lately, and how
// many the next request may hold.
func (c *Client) Pace() (perSecond float64, batch int) { return c.pace.perSecond(), c.batch() }

// Ended says that a pass has ended, so Options.UnderWay returns one less: what
// waited in line for its contact may go.
func (c *Client) Ended() { c.look() }
