package site

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Admit waits until a pass may begin, first come, first served. The pass calls
// release when it has ended; a second call does nothing.
//
// So many passes are under way at once as the site stores contacts in
// [lineTime], at least two batches so that the next one fills while one is in
// flight, at most Options.MaxUnderWay. A pass thus never waits in line for much
// longer than lineTime with what it has read from the CRM. While the site is
// away one pass at a time finds out whether it is back, and none while the site
// has asked to be left alone.
//
// The error is a [contact.Outage]: ctx ended, the client is closed, or the site
// is to be left alone.
func (c *Client) Admit(ctx context.Context) (release func(), err error) {
	if err := c.health.held(time.Now()); err != nil {
		return nil, err
	}
	select {
	case <-c.closing:
		return nil, errClosed
	default:
	}
	turn := c.gate.join()
	select {
	case <-turn:
		return c.gate.releaser(), nil
	case <-ctx.Done():
		err = &Unavailable{Reason: "more contacts are under way than it stores in the time of a pass", cause: ctx.Err()}
	case <-c.closing:
		err = errClosed
	}
	c.gate.leave(turn)
	return nil, err
}

// lineTime is how long the last of the admitted passes may wait in line. It
// leaves most of a pass's 40 s for the CRM and for the site, also when the site
// gets several times slower after they were admitted.
const lineTime = 5 * time.Second

func (c *Client) underWayLimit() int {
	perSecond, away := c.health.rate(time.Now())
	if away {
		return 1
	}
	// A site that is too slow for the batches set has smaller ones now.
	return min(max(int(perSecond*lineTime.Seconds()), 2*c.batch()), c.options.MaxUnderWay)
}

// gate counts the passes under way and lets others wait.
type gate struct {
	limit   func() int
	changed func() // called without the lock when a pass has ended

	mu       sync.Mutex
	admitted int
	waiting  []chan struct{}
}

func newGate(limit func() int, changed func()) *gate { return &gate{limit: limit, changed: changed} }

// join returns a channel that is closed when the pass may begin.
func (g *gate) join() chan struct{} {
	turn := make(chan struct{})
	g.mu.Lock()
	g.waiting = append(g.waiting, turn)
	g.mu.Unlock()
	g.grant()
	return turn
}

// leave gives up a turn, whether it came or not.
func (g *gate) leave(turn chan struct{}) {
	g.mu.Lock()
	i := slices.Index(g.waiting, turn)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	g.mu.Unlock()
	if i < 0 {
		g.end()
	}
}

func (g *gate) releaser() func() { return sync.OnceFunc(g.end) }

func (g *gate) end() {
	g.mu.Lock()
	g.admitted--
	g.mu.Unlock()
	g.grant()
	g.changed()
}

// grant lets as many begin as there is room for.
func (g *gate) grant() {
	limit := g.limit()
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.waiting) > 0 && g.admitted < limit {
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
		g.admitted++
	}
}

// underWay counts the passes that have begun and not ended.
func (g *gate) underWay() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.admitted
}
