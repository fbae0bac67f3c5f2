package throttle_test

import (
	"context"
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

const slotsKey = "{spw}:slots:site"

func newSlots(t *testing.T, rdb redis.UniversalClient, n int, lease time.Duration) *throttle.Slots {
	t.Helper()
	slots, err := throttle.NewSlots(rdb, slotsKey, n)
	require.NoError(t, err)
	if lease > 0 {
		slots.LeaseFor(lease)
	}
	return slots
}

func TestNoMoreThanNHoldSlotsOverAllReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const n = 2
	var (
		group    sync.WaitGroup
		holding  atomic.Int32
		most     atomic.Int32
		finished atomic.Int32
	)
	for range 3 {
		slots := newSlots(t, server.Client(), n, 0)
		for range 8 {
			group.Go(func() {
				for range 3 {
					release, err := slots.Acquire(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					now := holding.Add(1)
					for before := most.Load(); now > before && !most.CompareAndSwap(before, now); before = most.Load() {
					}
					holding.Add(-1)
					release()
					finished.Add(1)
				}
			})
		}
	}
	group.Wait()
	require.LessOrEqual(t, most.Load(), int32(n))
	require.Equal(t, int32(72), finished.Load())
}

func TestAReleasedSlotIsFreeAtOnceAndOnlyOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	here, there := newSlots(t, server.Client(), 1, 0), newSlots(t, server.Client(), 1, 0)

	first, err := here.Acquire(t.Context())
	require.NoError(t, err)
	first()
	second, err := there.Acquire(t.Context())
	require.NoError(t, err)
	first()
	first()

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = here.Acquire(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded, "a repeated release must not free another holder's slot")
	_, outage := contact.AsOutage(err)
	require.True(t, outage)
	second()
}

func TestAVanishedHoldersSlotFallsFreeAfterItsLease(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const lease = 600 * time.Millisecond
	crashing := server.Client()
	_, err := newSlots(t, crashing, 1, lease).Acquire(t.Context())
	require.NoError(t, err)
	require.NoError(t, crashing.Close())
	start := time.Now()

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	release, err := newSlots(t, server.Client(), 1, lease).Acquire(ctx)
	require.NoError(t, err)
	defer release()
	require.GreaterOrEqual(t, time.Since(start), lease/2, "the lease was respected")
}

func TestAHolderKeepsItsSlotBeyondTheLease(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const lease = 1500 * time.Millisecond
	release, err := newSlots(t, server.Client(), 1, lease).Acquire(t.Context())
	require.NoError(t, err)

	other := newSlots(t, server.Client(), 1, lease)
	ctx, cancel := context.WithTimeout(t.Context(), 2*lease)
	defer cancel()
	_, err = other.Acquire(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	release()
	again, err := other.Acquire(t.Context())
	require.NoError(t, err)
	again()
}

func TestASlotOutlivesTheCallThatAcquiredIt(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	slots := newSlots(t, server.Client(), 1, 0)
	ctx, cancel := context.WithCancel(t.Context())
	release, err := slots.Acquire(ctx)
	require.NoError(t, err)
	cancel()
	waiting, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	_, err = slots.Acquire(waiting)
	require.Error(t, err)
	release()
	release, err = slots.Acquire(t.Context())
	require.NoError(t, err)
	release()
}

func TestAReplicaThatNeverPausesDoesNotKeepOthersOut(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	greedy, modest := newSlots(t, server.Client(), 1, 0), newSlots(t, server.Client(), 1, 0)
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		once := sync.OnceFunc(func() { close(started) })
		for ctx.Err() == nil {
			if release, err := greedy.Acquire(ctx); err == nil {
				once()
				release()
			}
		}
	})
	<-started
	for range 5 {
		waiting, stop := context.WithTimeout(ctx, 10*time.Second)
		release, err := modest.Acquire(waiting)
		stop()
		require.NoError(t, err)
		release()
	}
	cancel()
	group.Wait()
}

func TestWhoGaveUpWaitingDoesNotBlockTheLine(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	holder, quitter := newSlots(t, server.Client(), 1, 0), newSlots(t, rdb, 1, 0)
	release, err := holder.Acquire(t.Context())
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = quitter.Acquire(ctx)
	require.Error(t, err)
	require.Zero(t, rdb.HLen(t.Context(), slotsKey+":line").Val())

	// One that crashed in line is passed over as well.
	require.NoError(t, rdb.HSet(t.Context(), slotsKey+":line", "crashed", "1:1", "strange", "x").Err())
	release()
	next, err := holder.Acquire(t.Context())
	require.NoError(t, err)
	next()
}

func TestSlotsSurviveALossOfRedissData(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	const lease = 600 * time.Millisecond
	release, err := newSlots(t, rdb, 1, lease).Acquire(t.Context())
	require.NoError(t, err)
	defer release()
	require.NoError(t, rdb.FlushAll(t.Context()).Err())
	require.Eventually(t, func() bool {
		return rdb.ZCard(t.Context(), slotsKey).Val() == 1
	}, 10*time.Second, 10*time.Millisecond, "the holder enters itself again")
}
