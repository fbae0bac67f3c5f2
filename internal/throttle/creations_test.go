package throttle_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/throttle"
)

func reserve(t *testing.T, c *throttle.Creations, id string) bool {
	t.Helper()
	granted, err := c.Reserve(t.Context(), id)
	require.NoError(t, err)
	return granted
}

func requireMade(t *testing.T, c *throttle.Creations, made, held int64) {
	t.Helper()
	counts, err := c.Counts(t.Context())
	require.NoError(t, err)
	require.Equal(t, made, counts.Made)
	require.Equal(t, held, counts.Held)
}

func TestCreationsCountOnceOverRepetitions(t *testing.T) {
	t.Parallel()
	c := throttle.NewCreations(redistest.Start(t).Client(), contact.DefaultSite, 2)
	for range 3 { // the pass is cut off before the CRM has the password
		require.True(t, reserve(t, c, "1"))
		require.NoError(t, c.Made(t.Context(), "1", true))
	}
	requireMade(t, c, 1, 0)
	require.NoError(t, c.Ended(t.Context(), "1"))
	requireMade(t, c, 1, 0)

	require.True(t, reserve(t, c, "2"))
	require.NoError(t, c.Made(t.Context(), "2", false))
	require.False(t, reserve(t, c, "3"))
	require.NoError(t, c.Hold(t.Context(), "3"))
	requireMade(t, c, 2, 1)

	require.NoError(t, c.Allow(t.Context(), "3"))
	require.False(t, reserve(t, c, "4"))
	for range 2 {
		require.True(t, reserve(t, c, "3"), "a person allowed it")
		require.NoError(t, c.Made(t.Context(), "3", true))
	}
	requireMade(t, c, 2, 0)
}

func TestPlaceThatCreatedNobodyIsGivenBack(t *testing.T) {
	t.Parallel()
	c := throttle.NewCreations(redistest.Start(t).Client(), contact.DefaultSite, 1)
	require.True(t, reserve(t, c, "1"))
	_, err := c.Reserve(t.Context(), "2")
	outage, isOutage := contact.AsOutage(err)
	require.True(t, isOutage, "nobody knows yet whether 1 is a creation: %v", err)
	require.Positive(t, outage.Outage())
	require.NoError(t, c.Ended(t.Context(), "1"))
	require.True(t, reserve(t, c, "2"))
	requireMade(t, c, 0, 0)
}

func TestNoReplicasTogetherPassTheLimit(t *testing.T) {
	t.Parallel()
	const limit, contacts = 10, 60
	rdb := redistest.Start(t).Client()
	var made atomic.Int64
	var group sync.WaitGroup
	for i := range contacts {
		c := throttle.NewCreations(rdb, contact.DefaultSite, limit)
		group.Go(func() {
			id := strconv.Itoa(i)
			for range 1000 {
				granted, err := c.Reserve(context.Background(), id)
				if _, waits := contact.AsOutage(err); waits {
					continue
				}
				if !granted || err != nil {
					return
				}
				if i%3 == 0 { // it existed
					_ = c.Ended(context.Background(), id)
					return
				}
				made.Add(1)
				_ = c.Made(context.Background(), id, false)
				return
			}
		})
	}
	group.Wait()
	require.EqualValues(t, limit, made.Load())
	requireMade(t, throttle.NewCreations(rdb, contact.DefaultSite, limit), limit, 0)
}

func TestLimitIsOfOneSiteAndOfOneHour(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	c := throttle.NewCreations(rdb, "shop", 1)
	require.True(t, reserve(t, c, "1"))
	require.NoError(t, c.Made(t.Context(), "1", false))
	require.False(t, reserve(t, c, "2"))
	require.True(t, reserve(t, throttle.NewCreations(rdb, "other", 1), "2"))

	key := "spw:{site.shop}:creations:made"
	now, err := rdb.Time(t.Context()).Result()
	require.NoError(t, err)
	require.NoError(t, rdb.ZIncrBy(t.Context(), key, -float64(time.Hour.Milliseconds()), "1").Err(), now)
	require.True(t, reserve(t, c, "2"))

	unlimited := throttle.NewCreations(rdb, "shop", 0)
	for i := range 5 {
		require.True(t, reserve(t, unlimited, strconv.Itoa(100+i)))
		require.NoError(t, unlimited.Made(t.Context(), strconv.Itoa(100+i), false))
	}
}
