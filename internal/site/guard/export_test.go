package guard

import (
	"context"
	"time"
)

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
