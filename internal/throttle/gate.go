package throttle

import (
	"context"
	"time"
)

// Pacer is what the gate needs to know of the site's client.
type Pacer interface {
	// Pace returns how many contacts this process has stored a second lately,
	// and how many the next request may hold.
	Pace() (perSecond float64, batch int)
	// Ended is called when a pass has ended.
	Ended()
}

// Gate is the one place that decides whether a pass may begin, over all
// replicas. A pass begins only when it can end:
//
//   - all breakers let it through. A pass needs every system, so one breaker
//     that is open holds them all, and a pass that is the probe of one begins
//     only if it may call the others;
//   - the CRM's budget has a turn for its first call within two seconds: so a
//     hold, a learned rate, and the calls of all passes that have begun count;
//   - the CRM answers so fast that hardly any call waits for one of the calls
//     at once to end;
//   - the site stores what is under way in ten seconds, or no more than two
//     batches are under way.
//
// A contact whose pass may not begin is left alone: it keeps its place in line.
type Gate struct {
	places   *Places
	budget   *Budget
	room     func() bool
	site     Pacer
	breakers []*Breaker
}

// GateOptions are what a gate asks. Breakers are needed; what is nil is not
// asked.
type GateOptions struct {
	Places *Places // needs a Site
	Site   Pacer
	Budget *Budget
	// Room says whether hardly any call waits for another one to end.
	Room     func() bool
	Breakers []*Breaker
}

// NewGate returns a gate.
func NewGate(o GateOptions) *Gate {
	return &Gate{places: o.Places, budget: o.Budget, room: o.Room, site: o.Site, breakers: o.Breakers}
}

const (
	// longestPoll is how long a closed gate waits before it asks again: another
	// replica's probe may have opened it.
	longestPoll = 250 * time.Millisecond
	// roomPoll is how long it waits for a call or a pass to end.
	roomPoll = 10 * time.Millisecond
)

// Begin asks whether a pass may begin. If so end is not nil, and is called once
// the pass has ended. Otherwise wait says when to ask again, a quarter of a
// second at most. It asks Redis for what is not known. The error is an
// [*Unavailable]: Redis is away.
func (g *Gate) Begin(ctx context.Context) (end func(), wait time.Duration, err error) {
	end, wait, err = g.begin(ctx)
	if end == nil && err == nil {
		wait = min(max(wait, time.Millisecond), longestPoll) + jitter(roomPoll)
	}
	return end, wait, err
}

func (g *Gate) begin(ctx context.Context) (end func(), wait time.Duration, err error) {
	// What is known here is asked first, and what counts passes last.
	if g.room != nil && !g.room() {
		return nil, roomPoll, nil
	}
	if wait := g.openFor(); wait > 0 {
		return nil, wait, g.refresh(ctx)
	}
	if g.places != nil {
		perSecond, batch := g.site.Pace()
		ok, err := g.places.begin(ctx, perSecond, 2*batch)
		if err != nil || !ok {
			return nil, roomPoll, err
		}
	}
	if g.budget != nil {
		ok, wait, err := g.budget.Begin(ctx)
		if err != nil || !ok {
			g.leave()
			return nil, wait, err
		}
	}
	done, wait, err := g.pass(ctx)
	if done == nil {
		g.leave()
		return nil, wait, err
	}
	return func() { done(); g.leave() }, 0, nil
}

// UnderWay is how many passes this process has begun and not ended.
func (g *Gate) UnderWay() int { return g.places.UnderWay() }

// leave gives a pass's place back.
func (g *Gate) leave() {
	if g.places != nil {
		g.places.end()
		g.site.Ended()
	}
}

// openFor returns how long the breakers stay open, as far as is known.
func (g *Gate) openFor() (longest time.Duration) {
	for _, b := range g.breakers {
		longest = max(longest, b.openFor())
	}
	return longest
}

// pass asks the breakers; a nil end says when to ask again.
func (g *Gate) pass(ctx context.Context) (end func(), wait time.Duration, err error) {
	var ends []func()
	end = func() {
		for _, e := range ends {
			e()
		}
	}
	for _, b := range g.breakers {
		done, wait, err := b.begin(ctx)
		if err != nil || done == nil {
			end()
			return nil, wait, err
		}
		ends = append(ends, done)
	}
	return end, 0, nil
}

func (g *Gate) refresh(ctx context.Context) error {
	for _, b := range g.breakers {
		if err := b.refresh(ctx); err != nil {
			return &Unavailable{Attempt: "asking whether the " + b.system + " may be called", Err: err}
		}
	}
	return nil
}
