package throttle

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// ClimbWithin shortens the climb, so that a test sees several.
func (b *Budget) ClimbWithin(d time.Duration) { b.climb = d }

// BreakerOptions are a breaker's rules as a test wants them; zero: as they are.
type BreakerOptions breakerRules

// NewTestBreaker returns a breaker with a test's rules.
func NewTestBreaker(rdb redis.UniversalClient, system string, o BreakerOptions) *Breaker {
	b := NewBreaker(rdb, system, orDefault(o.Memory, 10))
	r := b.rules
	b.rules = breakerRules{
		Memory: r.Memory, Share: orDefault(o.Share, r.Share), Fade: orDefault(o.Fade, r.Fade),
		First: orDefault(o.First, r.First), Longest: orDefault(o.Longest, r.Longest),
		LongestAsked: orDefault(o.LongestAsked, r.LongestAsked),
		Ramp:         orDefault(o.Ramp, r.Ramp), RampStart: orDefault(o.RampStart, r.RampStart),
		Probe: orDefault(o.Probe, r.Probe), Hold: orDefault(o.Hold, r.Hold),
	}
	return b
}

func orDefault[T float64 | time.Duration](value, standard T) T {
	if value == 0 {
		return standard
	}
	return value
}

// LeaseFor shortens the slots' lease.
func (s *Slots) LeaseFor(d time.Duration) { s.lease = d }

// MeasureEvery shortens a prober's intervals.
func (p *Prober) MeasureEvery(draining, learning, resting time.Duration) {
	p.times = probeTimes{draining: draining, learning: learning, resting: resting}
}

// PageTook reports what a prober measured, quietly while no request was under
// way.
func (g *Guard) PageTook(ctx context.Context, took time.Duration, quietly bool) {
	g.change(ctx, func(p *pressure) { p.probed(time.Now(), took, quietly) })
}

// Busy says whether a request of any replica is under way.
func (g *Guard) Busy(ctx context.Context) (bool, error) {
	state, err := g.read(ctx, g.rdb)
	return state.busy(time.Now()), err
}

// PageBase returns what the page usually takes in milliseconds; zero: not known.
func (g *Guard) PageBase(ctx context.Context) (float64, error) {
	state, err := g.read(ctx, g.rdb)
	return state.Page.Base, err
}
