package throttle

import (
	"context"
	"time"
)

// Admitter lets passes begin. [Gate] is one, the site's client is another.
type Admitter interface {
	// Admit waits until a pass may begin. Its error is an outage.
	Admit(ctx context.Context) (release func(), err error)
}

// Gate admits passes while all breakers let them through, and then as next
// does. A pass needs every system, so one breaker that is open holds them all,
// and a pass that is the probe of one is admitted only if it may call the
// others.
type Gate struct {
	breakers []*Breaker
	next     Admitter

	turn chan struct{} // held by the one goroutine that asks the breakers
}

// NewGate returns a gate. next may be nil.
func NewGate(next Admitter, breakers ...*Breaker) *Gate {
	return &Gate{breakers: breakers, next: next, turn: make(chan struct{}, 1)}
}

// longestPoll is how long a closed gate waits before it asks again: another
// replica's probe may have opened it.
const longestPoll = 250 * time.Millisecond

// Admit waits until a pass may begin; passes of one process begin in the order
// in which they came. The pass calls release when it has ended. The error is an
// [*Unavailable] that says when the next probe is due: ctx ended, or Redis is
// away.
func (g *Gate) Admit(ctx context.Context) (release func(), err error) {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, g.closed(ctx)
	}
	end, err := g.pass(ctx)
	<-g.turn
	if err != nil || g.next == nil {
		return end, err
	}
	leave, err := g.next.Admit(ctx)
	if err != nil {
		end()
		return nil, err
	}
	return func() { leave(); end() }, nil
}

// pass waits for all breakers.
func (g *Gate) pass(ctx context.Context) (end func(), err error) {
	for {
		end, wait, err := g.begin(ctx)
		if err != nil {
			return nil, err
		}
		if end != nil {
			return end, nil
		}
		if pause(ctx, min(wait, longestPoll)+jitter(10*time.Millisecond), nil) != nil {
			return nil, g.closed(ctx)
		}
	}
}

// begin asks all breakers; a nil end says when to ask again.
func (g *Gate) begin(ctx context.Context) (end func(), wait time.Duration, err error) {
	var ends []func()
	end = func() {
		for _, e := range ends {
			e()
		}
	}
	// One that is surely open is asked first, so that none takes a probe in vain.
	for _, b := range g.breakers {
		if left := b.openFor(); left > 0 {
			wait = max(wait, left)
		}
	}
	if wait > longestPoll {
		return nil, wait, g.refresh(ctx)
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

// closed is the error of a gate that stayed closed. Whoever gets it should come
// back when the probe was made.
func (g *Gate) closed(ctx context.Context) error {
	var longest time.Duration
	for _, b := range g.breakers {
		longest = max(longest, b.openFor())
	}
	return &Unavailable{Attempt: "waiting for a pass's turn", RetryAfter: longest, Err: ctx.Err()}
}
