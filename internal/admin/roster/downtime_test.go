package roster_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/admin/roster"
	"spillway/internal/lab/redistest"
)

func TestDowntimeIsWhenNoIngestWasThere(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	r := roster.New(rdb)
	last := func() (roster.Downtime, bool) {
		down, ok, err := r.LastDowntime(t.Context())
		require.NoError(t, err)
		return down, ok
	}
	require.NoError(t, r.Beat(t.Context(), roster.Replica{ID: "worker:1", Role: roster.Worker}))
	require.NoError(t, r.Beat(t.Context(), roster.Replica{ID: "ingest:1", Role: roster.Ingest}))
	require.NoError(t, r.Beat(t.Context(), roster.Replica{ID: "ingest:1", Role: roster.Ingest}))
	_, ok := last()
	require.False(t, ok)

	from := time.Now().Add(-time.Hour).Truncate(time.Millisecond).UTC()
	require.NoError(t, rdb.HSet(t.Context(), "spw:ingest:down", "seen", from.UnixMilli()).Err())
	require.NoError(t, r.Beat(t.Context(), roster.Replica{ID: "worker:1", Role: roster.Worker}))
	_, ok = last()
	require.False(t, ok, "a worker takes no webhooks")
	require.NoError(t, r.Beat(t.Context(), roster.Replica{ID: "ingest:2", Role: roster.Ingest}))
	down, ok := last()
	require.True(t, ok)
	require.Equal(t, from, down.From)
	require.WithinDuration(t, time.Now(), down.To, time.Minute)
}
