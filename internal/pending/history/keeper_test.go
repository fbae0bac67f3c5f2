package history_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
)

// fill writes timelines of an hour's age or more, each of some size, until Redis
// uses a share of its memory. It returns how many there are.
func fill(t *testing.T, rdb *redis.Client, share float64) int {
	t.Helper()
	event := "+" + strings.Repeat("x", 400)
	for n := 0; ; {
		pipe := rdb.Pipeline()
		for range 500 {
			n++
			key := "spw:{spillway}:h:default:" + strconv.Itoa(1000000+n)
			pipe.RPush(t.Context(), key, event)
			pipe.Expire(t.Context(), key, 30*24*time.Hour-time.Duration(n)*time.Second-time.Hour)
		}
		_, err := pipe.Exec(t.Context())
		require.NoError(t, err)
		if shareOf(t, rdb) >= share {
			return n
		}
	}
}

func shareOf(t *testing.T, rdb *redis.Client) float64 {
	t.Helper()
	filling, err := history.NewKeeper(rdb).Filling(t.Context())
	require.NoError(t, err)
	return filling.Share
}

// keep runs a keeper until the test ends.
func keep(t *testing.T, rdb *redis.Client) *history.Keeper {
	t.Helper()
	keeper := history.NewKeeper(rdb)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		keeper.Run(ctx, func(err error) { t.Errorf("keeper: %v", err) })
	})
	t.Cleanup(func() { stop(); running.Wait() })
	return keeper
}

func TestOldTimelinesGoBeforeRedisIsFull(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t, "--maxmemory", "16mb").Client()
	n := fill(t, rdb, 0.95)
	keeper := keep(t, rdb)
	polltest.Until(t, 30*time.Second, func() bool { return keeper.Remembers() && shareOf(t, rdb) < 0.66 }, "there is room again")
	exists := func(number int) int64 {
		return rdb.Exists(t.Context(), "spw:{spillway}:h:default:"+strconv.Itoa(1000000+number)).Val()
	}
	require.Zero(t, exists(n), "the one that has been idle longest")
	require.Equal(t, int64(1), exists(1), "the youngest")
}

func TestNothingIsRememberedWhileRedisFillsUp(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t, "--maxmemory", "16mb").Client()
	fill(t, rdb, 0.66)
	keeper := keep(t, rdb)
	polltest.Until(t, 30*time.Second, func() bool { return !keeper.Remembers() }, "the keeper has looked")
	contacts := pending.New(rdb, pending.Options{Room: keeper})
	pass(t, contacts, rdb, func(claim *pending.Claim) error {
		_, err := claim.Finish(t.Context(), history.Event{Time: time.Now(), Kind: history.Synced}.Encode())
		return err
	})
	events, _, err := history.New(rdb, contact.DefaultSite, 1).Timeline(t.Context(), ref)
	require.NoError(t, err)
	require.Empty(t, events)
	stats, err := contacts.Stats(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(1), stats.Synced, "it is counted all the same")
}

// A Redis whose memory is all used up takes no wake-up from its queue. So the
// last of it is left to passes.
func TestABacklogThatFillsRedisDrainsByItself(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t, "--maxmemory", "8mb").Client()
	fill(t, rdb, 0.5)
	keeper := history.NewKeeper(rdb)
	contacts := pending.New(rdb, pending.Options{Room: keeper})
	intake := pending.NewIntake(contacts)
	taken, refused := 0, 0
	for n := 1; refused < 100; n++ {
		if n%100 == 0 { // as often as in a burst, however busy the machine is
			require.NoError(t, keeper.Round(t.Context()))
		}
		_, err := intake.Submit(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(n)}, contact.Intent{Action: contact.Update}, contact.Receipt{})
		switch {
		case err == nil:
			taken++
		case errors.Is(err, pending.ErrFull):
			refused++
		default:
			t.Fatal(err)
		}
	}
	require.Greater(t, taken, 2000, "timelines went first")
	require.Less(t, shareOf(t, rdb), 1.0)

	for n := 1; n <= taken; n++ {
		task, err := rdb.RPop(t.Context(), "asynq:{spillway}:pending").Result() // as the queue hands it out
		require.NoError(t, err)
		claim, err := contacts.Claim(t.Context(), task)
		require.NoError(t, err)
		_, err = claim.Finish(t.Context(), "")
		require.NoError(t, err)
		require.NoError(t, rdb.Del(t.Context(), "asynq:{spillway}:t:"+task).Err())
	}
	stats, err := contacts.Stats(t.Context())
	require.NoError(t, err)
	require.Zero(t, stats.Pending)
	require.NoError(t, keeper.Round(t.Context()))
	_, err = intake.Submit(t.Context(), ref, contact.Intent{Action: contact.Update}, contact.Receipt{})
	require.NoError(t, err, "webhooks are taken again")
}

func TestFillingTellsWhenRedisWillBeFull(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t, "--maxmemory", "16mb").Client()
	keeper := history.NewKeeper(rdb)
	now := fill(t, rdb, 0.5)
	require.Positive(t, now)
	hour := time.Now().Unix() / 3600
	hours := map[string]any{}
	for ago := range int64(48) {
		least := 0.30 - 0.10*float64(ago/24)
		if ago%5 == 0 {
			least += 0.3 // a burst, which drained
		}
		hours[strconv.FormatInt(hour-ago, 10)] = fmt.Sprint(least)
	}
	filling, err := keeper.Filling(t.Context())
	require.NoError(t, err)
	require.False(t, filling.Known)
	require.Zero(t, filling.FullIn())
	require.NoError(t, rdb.HSet(t.Context(), "spw:history:shares", hours).Err())
	filling, err = keeper.Filling(t.Context())
	require.NoError(t, err)
	require.True(t, filling.Known)
	require.InDelta(t, 0.10, filling.PerDay, 0.001)
	require.InDelta(t, (0.96-filling.Share)/0.10, filling.FullIn(), 0.1)
}
