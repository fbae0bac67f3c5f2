package refusals_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/admin/refusals"
	"spillway/internal/lab/redistest"
)

func TestRefusalsOfAllReplicasAreCountedByCodeAndHour(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	one, other := refusals.New(rdb), refusals.New(rdb)
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for range 100 {
				one.Count("", "invalid_access_key")
			}
		})
	}
	group.Wait()
	other.Count("", "missing_action")
	other.Count("", "invalid_access_key")
	require.NoError(t, one.Flush(t.Context()))
	require.NoError(t, other.Flush(t.Context()))
	require.NoError(t, other.Flush(t.Context()), "nothing new")

	codes, err := refusals.Read(t.Context(), rdb, "", 6)
	require.NoError(t, err)
	require.Len(t, codes, 2)
	require.Equal(t, "invalid_access_key", codes[0].Code)
	require.EqualValues(t, 1001, codes[0].Total)
	require.Len(t, codes[0].Hours, 6)
	require.WithinDuration(t, time.Now(), codes[0].Last, time.Minute)
	require.Equal(t, "missing_action", codes[1].Code)
}

func TestOldHoursAreDropped(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	now, err := rdb.Time(t.Context()).Result()
	require.NoError(t, err)
	hour := now.Unix() / 3600
	require.NoError(t, rdb.HSet(t.Context(), "spw:refusals",
		fmt.Sprintf("%d:missing_action", hour-2), 3, fmt.Sprintf("%d:missing_action", hour-100), 5).Err())
	counter := refusals.New(rdb)
	counter.Count("", "missing_action")
	require.NoError(t, counter.Flush(t.Context()))
	codes, err := refusals.Read(t.Context(), rdb, "", 1000)
	require.NoError(t, err)
	require.EqualValues(t, 4, codes[0].Total)
	require.Len(t, codes[0].Hours, refusals.Keep)
	fields, err := rdb.HLen(t.Context(), "spw:refusals").Result()
	require.NoError(t, err)
	require.LessOrEqual(t, fields, int64(4), "two hours and the time of the last")
}

func TestCountsOutliveAnAbsentRedisAndAStop(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	counter := refusals.New(rdb)
	for i := range 1000 {
		counter.Count("", fmt.Sprintf("code_%d", i)) // more than are counted apart
	}
	server.Kill()
	require.Error(t, counter.Flush(t.Context()))
	server.Restart()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	counter.Run(ctx, func(err error) { t.Error(err) })
	codes, err := refusals.Read(t.Context(), rdb, "", 2)
	require.NoError(t, err)
	var total int64
	for _, code := range codes {
		total += code.Total
	}
	require.EqualValues(t, 1000, total)
	require.LessOrEqual(t, len(codes), 65)
}
