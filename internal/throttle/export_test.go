package throttle

import (
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

// ClimbWithin shortens the climb, so that a test sees several.
func (b *Budget) ClimbWithin(d time.Duration) { b.climb = d }

// BreakerOptions are a breaker's rules as a test wants them; zero: as they are.
type BreakerOptions breakerRules

// NewTestBreaker returns a breaker with a test's rules.
func NewTestBreaker(rdb redis.UniversalClient, system string, o BreakerOptions) *Breaker {
	b := NewBreaker(rdb, system, contact.DefaultSite, orDefault(o.Memory, 10))
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
