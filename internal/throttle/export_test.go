package throttle

import "time"

// ClimbWithin shortens the climb, so that a test sees several.
func (b *Budget) ClimbWithin(d time.Duration) { b.climb = d }

// MeasureEvery shortens a prober's intervals.
func (p *Prober) MeasureEvery(draining, learning, resting time.Duration) {
	p.times = probeTimes{draining: draining, learning: learning, resting: resting}
}
