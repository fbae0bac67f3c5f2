package site

import (
	"context"
	"sync"
	"time"

	"spillway/internal/contact"
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

// storedSpan is over how long the rate is taken at which the site stores.
const storedSpan = 10 * time.Second

// health is what the last requests showed of the site.
type health struct {
	mu        sync.Mutex
	isAway    bool
	heldUntil time.Time
	stored    rate
}

func newHealth() *health { return &health{stored: rate{span: storedSpan}} }

// answered takes note of a request that was.
func (h *health) answered(contacts int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isAway = false
	h.stored.add(contacts, time.Now())
}

// longestHold bounds for how long a site may keep Spillway off with one answer.
const longestHold = 15 * time.Minute

// away takes note of an outage.
func (h *health) away(outage contact.Outage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isAway = true
	if until := time.Now().Add(min(outage.Outage(), longestHold)); until.After(h.heldUntil) {
		h.heldUntil = until
	}
}

// held returns an outage while the site wants to be left alone.
func (h *health) held(now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if left := h.heldUntil.Sub(now); left > 0 {
		return &Unavailable{Reason: "it asked to be left alone for a while", After: left}
	}
	return nil
}

// rate returns the contacts that the site stores per second, and whether the
// last request met an outage.
func (h *health) rate(now time.Time) (perSecond float64, away bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stored.perSecond(now), h.isAway
}
