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
	copyLife = 250 * time.Millisecond
	// climbTime is how long the rate takes to climb from nothing to its
	// setting; from a half it takes half as long.
	climbTime = 2 * time.Minute
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
// In Redis, at KEY, stands a hash while the rate is not at its setting: "rate",
// in calls per second, and "from", the server time in milliseconds until which
// nobody calls and from which on the rate climbs. At "rate:"+KEY stands what
// redis_rate keeps.
type Budget struct {
	rdb       redis.UniversalClient
	limiter   *redis_rate.Limiter
	key       string
	perSecond float64
	burst     int

	turn chan struct{} // held by the one goroutine that asks Redis

	mu     sync.Mutex
	rate   float64   // the copy of the shared rate
	readAt time.Time // when it was read
	until  time.Time // nobody calls before
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
		rdb: rdb, limiter: redis_rate.NewLimiter(rdb), key: key, perSecond: perSecond, burst: burst,
		turn: make(chan struct{}, 1), rate: perSecond,
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
		rate, hold, err := b.shared(ctx)
		if err != nil {
			return b.unavailable(err, 0)
		}
		if hold > 0 && hold > min(worthWaiting, remaining(ctx)) {
			return b.unavailable(errHeld, hold)
		}
		delay := hold
		if hold == 0 {
			if delay, err = b.ask(ctx, rate); err != nil {
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
func (b *Budget) ask(ctx context.Context, rate float64) (delay time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	limit := redis_rate.Limit{Rate: 1, Period: time.Duration(float64(time.Second) / rate), Burst: b.burst}
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
// which climbs back within two minutes. Further reports during a hold belong to
// the same overload: they lengthen it, but do not halve again. While Redis is
// away only this process is held back.
func (b *Budget) Limited(ctx context.Context, retryAfter time.Duration) {
	if retryAfter <= 0 {
		retryAfter = shortHold
	}
	hold := min(retryAfter, longestHold)
	b.remember(b.perSecond*lowest, hold, time.Time{})

	// The call that met the 429 may be at its end; the others must know of it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTimeout)
	defer cancel()
	answer, err := limitedScript.Run(ctx, b.rdb, []string{b.key},
		b.perSecond, b.perSecond/climbTime.Seconds(), b.perSecond*lowest, hold.Milliseconds()).Slice()
	if err != nil {
		return
	}
	if rate, hold, err := parseShared(answer); err == nil {
		b.remember(rate, hold, time.Now())
	}
}

// Rate returns the rate in calls per second that all replicas keep to at
// present, and for how long nobody calls.
func (b *Budget) Rate(ctx context.Context) (perSecond float64, hold time.Duration, err error) {
	perSecond, hold, err = b.read(ctx)
	if err != nil {
		return 0, 0, &Unavailable{Attempt: "reading the rate of " + b.key, Err: err}
	}
	return perSecond, hold, nil
}

// shared returns the shared rate and hold, from a copy that is fresh enough.
func (b *Budget) shared(ctx context.Context) (rate float64, hold time.Duration, err error) {
	b.mu.Lock()
	fresh := time.Since(b.readAt) < copyLife
	b.mu.Unlock()
	if !fresh {
		rate, hold, err := b.read(ctx)
		if err != nil {
			return 0, 0, err
		}
		b.remember(rate, hold, time.Now())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rate, max(time.Until(b.until), 0), nil
}

func (b *Budget) read(ctx context.Context) (rate float64, hold time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	answer, err := rateScript.Run(ctx, b.rdb, []string{b.key}, b.perSecond, b.perSecond/climbTime.Seconds()).Slice()
	if err != nil {
		return 0, 0, err
	}
	return parseShared(answer)
}

// remember keeps a copy. A hold is never shortened: an answer may be older than
// a 429 that was met while it was on its way.
func (b *Budget) remember(rate float64, hold time.Duration, readAt time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rate = min(max(rate, b.perSecond*lowest), b.perSecond)
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
