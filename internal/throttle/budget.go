package throttle

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
)

const (
	// copyLife is how long a replica goes by its copy of the shared rate.
	copyLife = 100 * time.Millisecond
	// climbTime is how long the rate takes, from its half, to come close to
	// the one that met a 429. It takes half as long again to come to it, and
	// as long again to exceed it by two fifths.
	climbTime = 20 * time.Second
	// learnedBurst is how many calls come at once after a 429: whoever limits
	// calls tolerates fewer at once than Spillway's own setting may.
	learnedBurst = 2
	// lowest is the part of the setting below which no 429 pushes the rate.
	lowest = 1.0 / 32
	// shortHold is how long a 429 without a time holds everyone back.
	shortHold = time.Second
	// worthWaiting is the longest hold that Wait sits out. A pass that waited
	// longer would keep its contact and its place for nothing.
	worthWaiting = 15 * time.Second
	// longestHold bounds what one answer can close.
	longestHold = time.Hour
)

var errHeld = errors.New("the other side asked all callers to wait")

// Budget is a number of calls per second that all replicas share.
//
// A limit that the other side has below the setting is found and kept. A 429 at
// a rate of r holds everybody back; after that the rate is, with t the time
// since then in which calls were made,
//
//	r * (0.95 + 0.45 * (t/20s - 1)^3)
//
// but never above the setting: r/2 at first, 0.89 r after 10 s, flat about
// 0.95 r at 20 s, r again at 30 s, 1.4 r at 40 s. So most of the time is spent
// just below what is allowed, a higher limit is found soon, and in a time
// without calls nothing is forgotten. (The curve is that of TCP CUBIC.)
//
// In Redis, at KEY, stands a hash while the rate is not at its setting: "limit",
// the rate that met the last 429; "climbed", the milliseconds since then in
// which calls were made; "until", the server time until which nobody calls;
// "seen", when calls were made last; and "rate", the rate then. At "rate:"+KEY
// stands what redis_rate keeps.
type Budget struct {
	rdb       redis.UniversalClient
	limiter   *redis_rate.Limiter
	key       string
	perSecond float64
	burst     int
	climb     time.Duration

	turn chan struct{} // held by the one goroutine that asks Redis

	mu     sync.Mutex
	now    limits    // the copy of what is shared
	readAt time.Time // when it was read
	until  time.Time // nobody calls before
}

// limits are what all replicas keep to.
type limits struct {
	rate    float64 // calls per second
	learned bool    // it follows from a 429
}

// NewBudget returns the budget named key: perSecond calls per second, at least
// 0.001, fractions allowed (0.5 is a call every two seconds), and burst calls at
// once after a time of rest. A burst of 0 stands for a quarter of a second's
// calls, at least one. All replicas should have the same settings.
func NewBudget(rdb redis.UniversalClient, key string, perSecond float64, burst int) (*Budget, error) {
	const least = 0.001
	if math.IsNaN(perSecond) || math.IsInf(perSecond, 0) || perSecond < least {
		return nil, fmt.Errorf("a rate of %v calls per second: use a number from %v on", perSecond, least)
	}
	if burst < 0 {
		return nil, fmt.Errorf("a burst of %d calls: use 0 or more", burst)
	}
	if burst == 0 {
		burst = max(1, int(perSecond/4))
	}
	return &Budget{
		rdb: rdb, limiter: redis_rate.NewLimiter(rdb), key: key, perSecond: perSecond, burst: burst, climb: climbTime,
		turn: make(chan struct{}, 1), now: limits{rate: perSecond},
	}, nil
}

// Wait returns when a call may be made. Callers of one process are served in
// the order in which they came. In the usual case it asks Redis once. The error
// is an [*Unavailable]: ctx ended, Redis is away, or everyone is held back until
// after ctx's deadline or for more than 15 seconds.
func (b *Budget) Wait(ctx context.Context) error {
	// One goroutine of a process asks at a time: they would all be told the
	// same moment, and all but one would ask in vain.
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return b.unavailable(ctx.Err(), 0)
	}
	for {
		if err := ctx.Err(); err != nil {
			return b.unavailable(err, 0)
		}
		now, hold, err := b.shared(ctx)
		if err != nil {
			return b.unavailable(err, 0)
		}
		if hold > 0 && hold > min(worthWaiting, remaining(ctx)) {
			return b.unavailable(errHeld, hold)
		}
		delay := hold
		if hold == 0 {
			if delay, err = b.ask(ctx, now); err != nil {
				return b.unavailable(err, 0)
			}
			if delay == 0 {
				return nil
			}
		}
		if err := pause(ctx, delay+jitter(5*time.Millisecond), nil); err != nil {
			return b.unavailable(err, 0)
		}
	}
}

// ask takes one call out of the budget; a delay says when to ask again.
func (b *Budget) ask(ctx context.Context, now limits) (delay time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	burst := b.burst
	if now.learned {
		burst = min(burst, learnedBurst)
	}
	limit := redis_rate.Limit{Rate: 1, Period: time.Duration(float64(time.Second) / now.rate), Burst: burst}
	result, err := b.limiter.Allow(ctx, b.key, limit)
	if err != nil {
		return 0, err
	}
	if result.Allowed > 0 {
		return 0, nil
	}
	return max(result.RetryAfter, time.Millisecond), nil
}

// Limited reports a 429. All replicas are held back for retryAfter (a second
// when that is zero, an hour at most), and call at half the rate afterwards,
// which climbs as [Budget] says. Further reports during a hold belong to
// the same overload: they lengthen it, but do not halve again. While Redis is
// away only this process is held back.
func (b *Budget) Limited(ctx context.Context, retryAfter time.Duration) {
	if retryAfter <= 0 {
		retryAfter = shortHold
	}
	hold := min(retryAfter, longestHold)
	b.remember(limits{b.perSecond * lowest, true}, hold, time.Time{})

	// The call that met the 429 may be at its end; the others must know of it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTimeout)
	defer cancel()
	answer, err := limitedScript.Run(ctx, b.rdb, []string{b.key}, b.arguments(hold.Milliseconds())...).Slice()
	if err != nil {
		return
	}
	if now, hold, err := parseShared(answer); err == nil {
		b.remember(now, hold, time.Now())
	}
}

// Rate returns the rate in calls per second that all replicas keep to at
// present, and for how long nobody calls.
func (b *Budget) Rate(ctx context.Context) (perSecond float64, hold time.Duration, err error) {
	now, hold, err := b.read(ctx, false)
	if err != nil {
		return 0, 0, &Unavailable{Attempt: "reading the rate of " + b.key, Err: err}
	}
	return now.rate, hold, nil
}

// shared returns the shared rate and hold, from a copy that is fresh enough.
func (b *Budget) shared(ctx context.Context) (now limits, hold time.Duration, err error) {
	b.mu.Lock()
	fresh := time.Since(b.readAt) < copyLife
	b.mu.Unlock()
	if !fresh {
		now, hold, err := b.read(ctx, true)
		if err != nil {
			return limits{}, 0, err
		}
		b.remember(now, hold, time.Now())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now, max(time.Until(b.until), 0), nil
}

// read asks Redis; calling says that calls are being made, so the rate climbs.
func (b *Budget) read(ctx context.Context, calling bool) (now limits, hold time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	answer, err := rateScript.Run(ctx, b.rdb, []string{b.key}, b.arguments(calling)...).Slice()
	if err != nil {
		return limits{}, 0, err
	}
	return parseShared(answer)
}

// remember keeps a copy. A hold is never shortened: an answer may be older than
// a 429 that was met while it was on its way.
func (b *Budget) remember(now limits, hold time.Duration, readAt time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now.rate = min(max(now.rate, b.perSecond*lowest), b.perSecond)
	b.now = now
	b.readAt = readAt
	if until := time.Now().Add(hold); hold > 0 && until.After(b.until) {
		b.until = until
	}
}

func (b *Budget) unavailable(err error, retryAfter time.Duration) error {
	return &Unavailable{Attempt: "waiting for a call's turn in the budget " + b.key, RetryAfter: retryAfter, Err: err}
}

// remaining returns the time until ctx's deadline.
func remaining(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return math.MaxInt64
	}
	return time.Until(deadline)
}
