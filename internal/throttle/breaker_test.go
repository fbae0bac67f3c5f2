package throttle_test

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/throttle"
)

// quick are the options of breakers that open and close within a test.
var quick = throttle.BreakerOptions{
	First: 200 * time.Millisecond, Longest: time.Second, Ramp: 1500 * time.Millisecond, Probe: 500 * time.Millisecond,
	Hold: 300 * time.Millisecond,
}

// breakers returns the breaker of one system as several replicas have it.
func breakers(t *testing.T, n int, options throttle.BreakerOptions) ([]*throttle.Breaker, *throttle.Statuses) {
	t.Helper()
	server := redistest.Start(t)
	all := make([]*throttle.Breaker, n)
	for i := range all {
		all[i] = throttle.NewTestBreaker(server.Client(), throttle.CRM, options)
	}
	return all, throttle.NewStatuses(server.Client(), contact.DefaultSite, "", throttle.SiteFacts{})
}

func status(t *testing.T, statuses *throttle.Statuses) throttle.Status {
	t.Helper()
	all, err := statuses.Read(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, throttle.CRM, all[0].System)
	require.Equal(t, throttle.Site, all[1].System)
	return all[0]
}

func fail(t *testing.T, b *throttle.Breaker, times int) {
	t.Helper()
	for range times {
		b.Failed(t.Context(), 1, 0, "status 503")
	}
}

// gateOf is a gate that asks breakers alone.
func gateOf(breakers ...*throttle.Breaker) *throttle.Gate {
	return throttle.NewGate(throttle.GateOptions{Breakers: breakers})
}

// begin asks a gate until a pass may begin or ctx ends.
func begin(ctx context.Context, gate *throttle.Gate) (end func(), err error) {
	for {
		end, wait, err := gate.Begin(ctx)
		if end != nil || err != nil {
			return end, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// admitted says whether a pass may begin within the time.
func admitted(ctx context.Context, b *throttle.Breaker, within time.Duration) (end func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	end, err := begin(ctx, gateOf(b))
	return end, err == nil
}

func TestFailuresOfOneReplicaOpenTheBreakerForAll(t *testing.T) {
	t.Parallel()
	all, statuses := breakers(t, 2, throttle.BreakerOptions{})
	require.Equal(t, throttle.Closed, status(t, statuses).State)
	fail(t, all[0], 10)

	now := status(t, statuses)
	require.Equal(t, throttle.Open, now.State)
	require.Equal(t, "status 503", now.Reason)
	require.False(t, now.Since.IsZero())
	require.True(t, now.RetryAt.After(now.Since))

	require.Eventually(t, func() bool { return all[1].Allow(t.Context()) != nil }, 30*time.Second, 10*time.Millisecond,
		"calls under way on the other replica are refused")
	_, ok := admitted(t.Context(), all[1], 300*time.Millisecond)
	require.False(t, ok, "no pass begins")
}

func TestFewFailuresAmongSuccessesDoNotOpenIt(t *testing.T) {
	t.Parallel()
	all, statuses := breakers(t, 1, throttle.BreakerOptions{})
	fail(t, all[0], 3)
	require.Equal(t, throttle.Closed, status(t, statuses).State, "an outage of few calls may be chance")
	for range 40 {
		fail(t, all[0], 1)
		for range 4 {
			all[0].Succeeded(t.Context())
		}
	}
	require.Equal(t, throttle.Closed, status(t, statuses).State)
	require.NoError(t, all[0].Allow(t.Context()))
}

func TestOldSuccessesDoNotHideAnOutage(t *testing.T) {
	t.Parallel()
	all, statuses := breakers(t, 1, throttle.BreakerOptions{})
	for range 10000 {
		all[0].Succeeded(t.Context())
	}
	fail(t, all[0], 10)
	require.Equal(t, throttle.Open, status(t, statuses).State)
}

func TestCallsThatTimeOutWeighMore(t *testing.T) {
	t.Parallel()
	all, statuses := breakers(t, 1, throttle.BreakerOptions{})
	for range 3 {
		all[0].Failed(t.Context(), 3, 0, "no answer in time")
	}
	require.Equal(t, throttle.Open, status(t, statuses).State)
}

func TestRetryAfterOpensAtOnceAndForAsLong(t *testing.T) {
	t.Parallel()
	all, statuses := breakers(t, 2, throttle.BreakerOptions{})
	all[0].Failed(t.Context(), 1, 10*time.Minute, "status 503")
	now := status(t, statuses)
	require.Equal(t, throttle.Open, now.State)
	require.WithinDuration(t, now.Since.Add(10*time.Minute), now.RetryAt, time.Second)

	require.Eventually(t, func() bool { return all[1].Allow(t.Context()) != nil }, 30*time.Second, 10*time.Millisecond)
	outage, ok := contact.AsOutage(all[1].Allow(t.Context()))
	require.True(t, ok)
	require.Greater(t, outage.Outage(), 9*time.Minute, "whoever is refused learns for how long")

	all[0].Failed(t.Context(), 1, 100*time.Hour, "status 503")
	require.WithinDuration(t, time.Now().Add(15*time.Minute), status(t, statuses).RetryAt, time.Minute,
		"one answer keeps everybody away for 15 minutes at most")
}

func TestOneProbeAtATimeOverAllReplicas(t *testing.T) {
	t.Parallel()
	all, statuses := breakers(t, 4, throttle.BreakerOptions{First: 50 * time.Millisecond, Probe: time.Minute, Hold: 1500 * time.Millisecond})
	fail(t, all[0], 10)

	var probes atomic.Int32
	var group sync.WaitGroup
	release := make(chan func(), 64)
	for _, b := range all {
		gate := gateOf(b)
		for range 8 {
			group.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				if end, err := begin(ctx, gate); err == nil {
					probes.Add(1)
					release <- end
				}
			})
		}
	}
	group.Wait()
	require.Equal(t, int32(1), probes.Load())
	require.Equal(t, throttle.HalfOpen, status(t, statuses).State)
	(<-release)()
	end, ok := admitted(t.Context(), all[3], 5*time.Second)
	require.True(t, ok, "a probe that found out nothing is followed by another")
	end()
}

func TestProbeThatVanishedIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	all, _ := breakers(t, 2, quick)
	fail(t, all[0], 10)
	_, ok := admitted(t.Context(), all[0], 5*time.Second)
	require.True(t, ok)
	_, ok = admitted(t.Context(), all[1], 5*time.Second) // the first never ended
	require.True(t, ok)
}

// A process that is killed, or stands still, says nothing any more.
func TestAProberThatIsNotHeardOfIsFollowedByAnotherSoon(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	options := throttle.BreakerOptions{First: 50 * time.Millisecond, Probe: time.Hour, Hold: 500 * time.Millisecond}
	killed := server.Client()
	prober, other := throttle.NewTestBreaker(killed, throttle.CRM, options), throttle.NewTestBreaker(server.Client(), throttle.CRM, options)
	fail(t, prober, 10)
	_, ok := admitted(t.Context(), prober, 5*time.Second)
	require.True(t, ok)
	require.NoError(t, killed.Close())
	end, ok := admitted(t.Context(), other, 30*time.Second)
	require.True(t, ok)
	end()
}

func TestOnlyTheProbesReplicaMayCall(t *testing.T) {
	t.Parallel()
	all, _ := breakers(t, 2, throttle.BreakerOptions{First: 50 * time.Millisecond})
	fail(t, all[0], 10)
	end, ok := admitted(t.Context(), all[0], 5*time.Second)
	require.True(t, ok)
	defer end()
	require.NoError(t, all[0].Allow(t.Context()))
	require.Error(t, all[1].Allow(t.Context()))
}

func TestPausesDoubleUpToACapAndASuccessEndsThem(t *testing.T) {
	t.Parallel()
	all, statuses := breakers(t, 2, quick)
	fail(t, all[0], 10)
	var pauses []time.Duration
	for range 5 {
		before := status(t, statuses)
		require.Equal(t, throttle.Open, before.State)
		end, ok := admitted(t.Context(), all[0], 10*time.Second)
		require.True(t, ok)
		all[0].Failed(t.Context(), 1, 0, "status 503")
		failed := time.Now()
		end()
		after := status(t, statuses)
		require.Equal(t, throttle.Open, after.State)
		require.Equal(t, before.Since, after.Since, "the outage lasts since its first failure")
		pauses = append(pauses, after.RetryAt.Sub(failed))
	}
	require.Greater(t, pauses[1], pauses[0]*6/5)
	for _, pause := range pauses {
		require.LessOrEqual(t, pause, quick.Longest*5/4+100*time.Millisecond)
	}
	end, ok := admitted(t.Context(), all[0], 10*time.Second)
	require.True(t, ok)
	all[0].Succeeded(t.Context())
	end()
	now := status(t, statuses)
	require.Equal(t, throttle.Closed, now.State)
	require.Empty(t, now.Reason)
	require.Eventually(t, func() bool { return all[1].Allow(t.Context()) == nil }, 30*time.Second, 10*time.Millisecond)
}

func TestFailureSoonAfterTheProbeOpensForLonger(t *testing.T) {
	t.Parallel()
	all, statuses := breakers(t, 1, throttle.BreakerOptions{First: 100 * time.Millisecond, Ramp: time.Minute, Longest: time.Hour})
	var pauses []time.Duration
	for range 4 {
		fail(t, all[0], 20)
		now := status(t, statuses)
		require.Equal(t, throttle.Open, now.State)
		pauses = append(pauses, now.RetryAt.Sub(now.Since))
		_, ok := admitted(t.Context(), all[0], 10*time.Second)
		require.True(t, ok)
		all[0].Succeeded(t.Context())
		require.Equal(t, throttle.Closed, status(t, statuses).State)
	}
	require.Greater(t, pauses[3], 3*pauses[0], "a system that answers its probe and nothing else is left alone for longer each time")
}

func TestPassesBeginBitByBitAfterAnOutage(t *testing.T) {
	t.Parallel()
	all, _ := breakers(t, 2, throttle.BreakerOptions{First: 50 * time.Millisecond, Ramp: 3 * time.Second})
	fail(t, all[0], 10)
	end, ok := admitted(t.Context(), all[0], 5*time.Second)
	require.True(t, ok)
	closing := time.Now() // the breaker closes after this moment, by the same clock
	all[0].Succeeded(t.Context())
	end()

	// 2 * 2^(t / 0.2 s) passes may begin within t, over both replicas.
	var begun atomic.Int32
	var group sync.WaitGroup
	for _, b := range all {
		gate := gateOf(b)
		group.Go(func() {
			for begun.Load() < 200 {
				end, err := begin(t.Context(), gate)
				if err != nil {
					t.Error(err)
					return
				}
				end()
				n := begun.Add(1)
				// Redis counts in whole milliseconds.
				if took := time.Since(closing) + 2*time.Millisecond; float64(n) > 2*math.Exp2(took.Seconds()/0.2) {
					t.Errorf("%d passes began within %v", n, took)
					return
				}
			}
		})
	}
	group.Wait()
	require.GreaterOrEqual(t, begun.Load(), int32(200))
}

func TestTwoBreakersBothLetAPassThrough(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	options := throttle.BreakerOptions{First: 100 * time.Millisecond, Longest: time.Minute}
	crm, site := throttle.NewTestBreaker(server.Client(), throttle.CRM, options), throttle.NewTestBreaker(server.Client(), throttle.Site, options)
	gate := gateOf(crm, site)
	fail(t, crm, 10)
	site.Failed(t.Context(), 1, time.Minute, "status 503")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := begin(ctx, gate)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, throttle.Open, status(t, throttle.NewStatuses(server.Client(), contact.DefaultSite, "", throttle.SiteFacts{})).State,
		"the CRM is not probed by a pass that the site would refuse")
}

func TestBreakersFailSafeWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	b := throttle.NewTestBreaker(rdb, throttle.CRM, throttle.BreakerOptions{})
	gate := gateOf(b)
	release, err := begin(t.Context(), gate)
	require.NoError(t, err)
	release()
	server.Kill()

	require.Eventually(t, func() bool { _, err = begin(t.Context(), gate); return err != nil }, 30*time.Second, 10*time.Millisecond)
	_, outage := contact.AsOutage(err)
	require.True(t, outage, "passes wait")
	require.NoError(t, b.Allow(t.Context()), "a pass under way goes by what was known")
	fail(t, b, 10)
	server.Restart()
	require.Eventually(t, func() bool { return b.Allow(t.Context()) != nil }, 30*time.Second, 50*time.Millisecond,
		"what failed meanwhile is told when Redis is back")
	_, err = throttle.NewStatuses(rdb, contact.DefaultSite, "", throttle.SiteFacts{}).Read(t.Context())
	require.NoError(t, err)
}
