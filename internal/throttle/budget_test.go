package throttle_test

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/throttle"
)

const budgetKey = "spw:budget:crm"

func newBudget(t *testing.T, rdb redis.UniversalClient, perSecond float64, burst int) *throttle.Budget {
	t.Helper()
	budget, err := throttle.NewBudget(rdb, budgetKey, perSecond, burst)
	require.NoError(t, err)
	return budget
}

func TestFourReplicasTogetherExceedTheRateByNoMoreThanOneBurst(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const (
		perSecond = 200
		burst     = 10
		calls     = 200
	)
	start := time.Now()
	var made atomic.Int64
	var group sync.WaitGroup
	for range 4 {
		budget := newBudget(t, server.Client(), perSecond, burst)
		for range 10 {
			group.Go(func() {
				for range calls / 40 {
					if err := budget.Wait(t.Context()); err != nil {
						t.Error(err)
						return
					}
					n := made.Add(1)
					// 10 ms: Redis may have counted from a moment before the start.
					if most := burst + perSecond*(time.Since(start).Seconds()+0.01); float64(n) > most {
						t.Errorf("%d calls where %.1f were allowed", n, most)
					}
				}
			})
		}
	}
	group.Wait()
	require.Equal(t, int64(calls), made.Load())
}

func TestABurstIsAllowedAtOnceAndNoMore(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	budget := newBudget(t, server.Client(), 0.01, 3)
	for range 3 {
		require.NoError(t, budget.Wait(t.Context()))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := budget.Wait(ctx)
	require.NoError(t, ctx.Err(), "a turn that comes too late is refused at once")
	require.True(t, contact.IsHeld(err), "%v", err)
	outage, _ := contact.AsOutage(err)
	require.Greater(t, outage.Outage(), 90*time.Second)
}

func TestAFractionalRateAllowsACallNowAndThen(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	budget := newBudget(t, server.Client(), 2.5, 1)
	require.NoError(t, budget.Wait(t.Context()))
	start := time.Now()
	require.NoError(t, budget.Wait(t.Context()))
	require.GreaterOrEqual(t, time.Since(start), 350*time.Millisecond)
}

func TestEveryReplicaObeysA429ThatOneMet(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	here, there := newBudget(t, server.Client(), 40, 10), newBudget(t, server.Client(), 40, 10)
	require.NoError(t, there.Wait(t.Context()))

	const hold429 = 2500 * time.Millisecond
	start := time.Now()
	here.Limited(t.Context(), hold429)
	rate, hold, err := there.Rate(t.Context())
	require.NoError(t, err)
	require.InDelta(t, 20, rate, 0.01)
	require.Greater(t, hold, time.Duration(0))
	require.LessOrEqual(t, hold, hold429)

	require.NoError(t, here.Wait(t.Context()))
	require.GreaterOrEqual(t, time.Since(start), hold429-10*time.Millisecond)
	// The other one may have gone by its copy for a quarter of a second. It is
	// asked now that the copy is older, so what it does is what Redis says.
	require.NoError(t, there.Wait(t.Context()))
	rate, hold, err = there.Rate(t.Context())
	require.NoError(t, err)
	require.Zero(t, hold)
	require.GreaterOrEqual(t, rate, 20.0)
	require.Less(t, rate, 40.0)
}

func TestAReplicaLearnsOfAHoldWhileItsCopyIsYoung(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	here, there := newBudget(t, server.Client(), 1000, 1000), newBudget(t, server.Client(), 1000, 1000)
	require.NoError(t, there.Wait(t.Context()))
	here.Limited(t.Context(), time.Minute)
	require.Eventually(t, func() bool { return there.Wait(t.Context()) != nil }, 30*time.Second, 10*time.Millisecond)
}

func TestReportsDuringOneHoldHalveOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	budget := newBudget(t, server.Client(), 40, 10)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() { budget.Limited(t.Context(), 10*time.Second) })
	}
	group.Wait()
	budget.Limited(t.Context(), 20*time.Second)
	budget.Limited(t.Context(), time.Second)
	rate, hold, err := budget.Rate(t.Context())
	require.NoError(t, err)
	require.InDelta(t, 20, rate, 0.01)
	require.Greater(t, hold, 15*time.Second, "the longest hold counts")
}

func TestTheRateFallsLessOnceTheLimitIsKnown(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	budget := newBudget(t, rdb, 1000, 10)
	ctx := t.Context()
	// limited meets a 429 after so long a time of calls, and returns what is left
	// of the rate.
	limited := func(after time.Duration) float64 {
		require.NoError(t, rdb.HSet(ctx, budgetKey, "climbed", after.Milliseconds()).Err())
		before, _, err := budget.Rate(ctx)
		require.NoError(t, err)
		budget.Limited(ctx, time.Millisecond)
		var rate float64
		polltest.Until(t, 30*time.Second, func() bool {
			var hold time.Duration
			rate, hold, err = budget.Rate(ctx)
			return err == nil && hold == 0
		}, "the hold ends")
		return rate / before
	}
	require.InDelta(t, 0.5, limited(0), 0.001, "nothing is known")
	require.InDelta(t, 0.5, limited(time.Second), 0.001, "still nothing")
	require.InDelta(t, 0.9, limited(20*time.Second), 0.001)
	require.InDelta(t, 0.75, limited(time.Second), 0.001, "a call may have come early")
	require.InDelta(t, 0.5, limited(time.Second), 0.001, "the limit is another one")
	require.InDelta(t, 0.9, limited(20*time.Second), 0.001)
}

func TestTheRateHasAFloorAndClimbsBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	budget := newBudget(t, rdb, 32, 10)
	ctx := t.Context()
	rate := 32.0
	for range 9 {
		budget.Limited(ctx, time.Millisecond)
		require.Eventually(t, func() bool {
			var hold time.Duration
			var err error
			rate, hold, err = budget.Rate(ctx)
			return err == nil && hold == 0
		}, 30*time.Second, time.Millisecond)
	}
	require.InDelta(t, 0.2, rate, 0.01, "twelve calls a minute")

	require.Positive(t, rdb.PTTL(ctx, budgetKey).Val(), "the reduction does not stay in Redis for ever")

	// What Redis holds is a rate and for how long calls were made since.
	climb := func(d time.Duration) float64 {
		require.NoError(t, rdb.HSet(ctx, budgetKey, "climbed", d.Milliseconds(), "limit", 10).Err())
		rate, _, err := budget.Rate(ctx)
		require.NoError(t, err)
		return rate
	}
	require.InDelta(t, 5, climb(0), 0.01)
	require.InDelta(t, 9.11, climb(10*time.Second), 0.01)
	require.InDelta(t, 9.7, climb(20*time.Second), 0.01)
	require.InDelta(t, 10.29, climb(30*time.Second), 0.01)
	require.InDelta(t, 14.4, climb(40*time.Second), 0.01)
	require.InDelta(t, 32, climb(time.Hour), 0, "never above the setting")
}

func TestTheRateClimbsWhileCallsAreMade(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	budget := newBudget(t, rdb, 1000, 0)
	budget.ClimbWithin(500 * time.Millisecond)
	budget.Limited(t.Context(), time.Millisecond)
	require.Eventually(t, func() bool { _, hold, err := budget.Rate(t.Context()); return err == nil && hold == 0 },
		30*time.Second, time.Millisecond)
	for range 10 {
		rate, _, err := budget.Rate(t.Context())
		require.NoError(t, err)
		require.InDelta(t, 500, rate, 0.01, "looking at it is no call")
	}
	polltest.Until(t, 20*time.Second, func() bool {
		require.NoError(t, budget.Wait(t.Context()))
		rate, _, err := budget.Rate(t.Context())
		require.NoError(t, err)
		learned, err := rdb.HMGet(t.Context(), budgetKey, "limit", "climbed", "rate", "until").Result()
		require.NoError(t, err)
		return rate == 1000 && !slices.ContainsFunc(learned, func(value any) bool { return value != nil })
	}, "the rate climbs back, and what is no longer true is forgotten")
}

func TestALongHoldIsReportedAndNotWaitedFor(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	budget := newBudget(t, server.Client(), 40, 10)
	budget.Limited(t.Context(), 100*time.Hour)

	start := time.Now()
	err := budget.Wait(t.Context())
	outage, ok := contact.AsOutage(err)
	require.True(t, ok)
	require.InDelta(t, time.Hour, outage.Outage(), float64(time.Minute), "one answer closes the budget for an hour at most")
	require.Less(t, time.Since(start), 10*time.Second)
}

func TestAHoldBeyondTheDeadlineIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	budget := newBudget(t, server.Client(), 40, 10)
	budget.Limited(t.Context(), 14*time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 13*time.Second)
	defer cancel()
	err := budget.Wait(ctx)
	outage, ok := contact.AsOutage(err)
	require.True(t, ok)
	require.Greater(t, outage.Outage(), 10*time.Second)
	require.NoError(t, ctx.Err(), "the deadline was not waited for")
}

func TestAnEndedCallerStillReportsIts429(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	budget := newBudget(t, server.Client(), 40, 10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	budget.Limited(ctx, time.Minute)
	_, hold, err := newBudget(t, server.Client(), 40, 10).Rate(t.Context())
	require.NoError(t, err)
	require.Greater(t, hold, 30*time.Second)
}

func TestWithoutRedisNothingIsAllowed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	budget := newBudget(t, rdb, 40, 10)
	slots, err := throttle.NewSlots(rdb, "spw:slots:site", 1)
	require.NoError(t, err)
	server.Kill()

	budget.Limited(t.Context(), time.Second)
	_, outage := contact.AsOutage(budget.Wait(t.Context()))
	require.True(t, outage)
	_, err = slots.Acquire(t.Context())
	_, outage = contact.AsOutage(err)
	require.True(t, outage)
	_, _, err = budget.Rate(t.Context())
	_, outage = contact.AsOutage(err)
	require.True(t, outage)
}

func TestStrangeContentInRedisIsNoObstacle(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	require.NoError(t, rdb.HSet(t.Context(), budgetKey, "limit", "many", "until", "soon").Err())
	require.NoError(t, newBudget(t, rdb, 40, 10).Wait(t.Context()))
}

func TestImpossibleSettingsAreRefused(t *testing.T) {
	t.Parallel()
	for _, perSecond := range []float64{0, -1, math.NaN(), math.Inf(1), 0.0001} {
		_, err := throttle.NewBudget(nil, budgetKey, perSecond, 1)
		require.ErrorContains(t, err, "calls per second")
	}
	_, err := throttle.NewBudget(nil, budgetKey, 1, -1)
	require.ErrorContains(t, err, "burst")
	_, err = throttle.NewSlots(nil, "k", 0)
	require.ErrorContains(t, err, "slots")
	_, err = throttle.NewSlots(nil, "", 1)
	require.ErrorContains(t, err, "key")
}
