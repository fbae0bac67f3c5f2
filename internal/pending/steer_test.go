package pending_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"spillway/internal/contact"
	"spillway/internal/lab/pendingtest"
	"spillway/internal/pending"
)

func TestPausedContactsStillTakeWebhooks(t *testing.T) {
	b := setup(t)
	for range 2 { // a repetition does no harm
		require.NoError(t, b.Pause(b.ctx))
	}
	paused, err := b.Paused(b.ctx)
	require.NoError(t, err)
	require.True(t, paused)
	b.submit(t, ann, upd)
	stats, err := b.Stats(b.ctx)
	require.NoError(t, err)
	require.True(t, stats.Paused)
	require.Equal(t, int64(1), stats.Pending)
	info, err := b.inspector.GetQueueInfo("spillway")
	require.NoError(t, err)
	require.True(t, info.Paused, "asynq's own tools see the pause")
	b.makeDue(t, ann)
	require.Zero(t, b.sweep(t), "the sweep sees nothing lost")

	for range 2 {
		require.NoError(t, b.Resume(b.ctx))
	}
	paused, err = b.Paused(b.ctx)
	require.NoError(t, err)
	require.False(t, paused)
}

func TestPassThatIsToBeRepeatedIsHeldBackByAPause(t *testing.T) {
	b := setup(t)
	b.submit(t, ann, upd)
	claim := b.claim(t)
	b.submit(t, ann, upd)
	require.NoError(t, b.Pause(b.ctx))
	again, err := claim.Finish(b.ctx, "")
	require.NoError(t, err)
	require.True(t, again)
	require.Positive(t, claim.Hold)
}

func TestDropForgetsParkedContactsOnly(t *testing.T) {
	b := setup(t)
	dropped, err := b.Drop(b.ctx, ann, "")
	require.NoError(t, err)
	require.False(t, dropped, "there is none")
	b.submit(t, ann, upd)
	dropped, err = b.Drop(b.ctx, ann, "")
	require.NoError(t, err)
	require.False(t, dropped, "it is pending")
	_, err = b.claim(t).Park(b.ctx, pending.Failure{Code: "c"}, "")
	require.NoError(t, err)
	dropped, err = b.Drop(b.ctx, ann, "")
	require.NoError(t, err)
	require.True(t, dropped)
	require.Equal(t, pending.Idle, b.state(t, ann).State)
	stats, err := b.Stats(b.ctx)
	require.NoError(t, err)
	require.Zero(t, stats.Parked)
	require.False(t, b.submit(t, ann, upd), "its next webhook begins anew")
}

// parkAll parks contacts as a pass does, but in one go.
func (b *bundle) parkAll(t *testing.T, contacts *pending.Contacts, n int) {
	t.Helper()
	require.NoError(t, pendingtest.Fill(b.ctx, contacts, 0, n))
	pipe := b.rdb.Pipeline()
	for _, queue := range contacts.Queues() {
		members, err := b.rdb.ZRange(b.ctx, "spw:{"+queue+"}:due", 0, -1).Result()
		require.NoError(t, err)
		for i, member := range members {
			pipe.HSet(b.ctx, "spw:{"+queue+"}:c:"+member, "parked", i+1, "code", "c")
			pipe.ZAdd(b.ctx, "spw:{"+queue+"}:parked", redis.Z{Score: float64(i + 1), Member: member})
		}
		pipe.Del(b.ctx, "spw:{"+queue+"}:due")
	}
	_, err := pipe.Exec(b.ctx)
	require.NoError(t, err)
}

func TestRetryParkedWakesAllOfThemInBatches(t *testing.T) {
	b := setup(t)
	contacts := pending.New(b.rdb, pending.Options{Queues: 3})
	const n = 10_100 // asynq's archive keeps 10,000, and for 90 days
	b.parkAll(t, contacts, n)
	list, err := contacts.ListParked(b.ctx, 0, 500)
	require.NoError(t, err)
	require.Len(t, list, 500)
	for i := 1; i < len(list); i++ {
		require.False(t, list[i].Since.Before(list[i-1].Since), "the longest parked first, over all queues")
	}
	more, err := contacts.ListParked(b.ctx, n-10, 500)
	require.NoError(t, err)
	require.Len(t, more, 10)

	begin := commandCalls(t, b.rdb, "evalsha")
	woken, err := contacts.RetryParked(b.ctx)
	require.NoError(t, err)
	require.Equal(t, n, woken)
	require.LessOrEqual(t, commandCalls(t, b.rdb, "evalsha")-begin, 60, "many to a script")
	stats, err := contacts.Stats(b.ctx)
	require.NoError(t, err)
	require.Equal(t, int64(n), stats.Pending)
	require.Zero(t, stats.Parked)
}

// Two people press the button at once.
func TestRetryParkedWakesEachContactOnce(t *testing.T) {
	b := setup(t)
	const n, people = 4000, 4
	b.parkAll(t, b.Contacts, n)
	var woken atomic.Int64
	group, ctx := errgroup.WithContext(b.ctx)
	for range people {
		group.Go(func() error {
			mine, err := b.RetryParked(ctx)
			woken.Add(int64(mine))
			return err
		})
	}
	require.NoError(t, group.Wait())
	require.EqualValues(t, n, woken.Load())
}

func TestRetryParkedEndsThoughTheIndexHoldsAContactWithoutARecord(t *testing.T) {
	b := setup(t)
	b.submit(t, ann, upd)
	_, err := b.claim(t).Park(b.ctx, pending.Failure{Code: "c"}, "")
	require.NoError(t, err)
	require.NoError(t, b.rdb.ZAdd(b.ctx, "spw:{spillway}:parked", redis.Z{Score: 1, Member: "default:404"}).Err())
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	woken, err := b.RetryParked(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, woken)
	list, err := b.ListParked(b.ctx, 0, 10)
	require.NoError(t, err)
	require.Empty(t, list)
	stats, err := b.Stats(b.ctx)
	require.NoError(t, err)
	require.Zero(t, stats.Parked)
}

func commandCalls(t *testing.T, rdb *redis.Client, name string) int {
	t.Helper()
	info, err := rdb.InfoMap(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	var n int
	_, _ = fmt.Sscanf(info["Commandstats"]["cmdstat_"+name], "calls=%d,", &n)
	return n
}

func TestStatsTellSinceWhenTheOldestContactWaits(t *testing.T) {
	b := setup(t)
	oldest := func() time.Time {
		stats, err := b.Stats(b.ctx)
		require.NoError(t, err)
		return stats.Oldest
	}
	require.True(t, oldest().IsZero())
	refs := make([]contact.Ref, 4)
	for i := range refs {
		refs[i] = contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(i + 1)}
		b.submit(t, refs[i], upd)
		require.NoError(t, b.rdb.HSet(b.ctx, "spw:{spillway}:c:"+refs[i].String(), "since", 1000*(i+1)).Err())
	}
	require.Equal(t, int64(1000), oldest().UnixMilli(), "waiting")
	ids := b.wakeUps(t) // the one that comes first is listed first
	claim, err := b.Claim(b.ctx, ids[0])
	require.NoError(t, err)
	require.Equal(t, refs[0], claim.Ref)
	require.Equal(t, int64(1000), oldest().UnixMilli(), "claimed")
	require.NoError(t, claim.Retry(b.ctx, time.Minute, true, pending.Failure{Code: "c"}, ""))
	require.NoError(t, b.inspector.DeleteTask("spillway", ids[0]))
	require.Equal(t, int64(1000), oldest().UnixMilli(), "failed")
	_, err = b.Retry(b.ctx, refs[0]) // outstanding since now
	require.NoError(t, err)
	require.Equal(t, int64(2000), oldest().UnixMilli())
	claim, err = b.Claim(b.ctx, ids[1])
	require.NoError(t, err)
	_, err = claim.Park(b.ctx, pending.Failure{Code: "c"}, "")
	require.NoError(t, err)
	require.Equal(t, int64(3000), oldest().UnixMilli(), "a parked one does not wait for us")
}
