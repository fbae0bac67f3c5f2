package history_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/history"
	"spillway/internal/redisconn/redistest"
)

func TestTimelineKeepsTheNewestEventsAndTheLastSync(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	timelines := history.New(rdb)
	ref := contact.Ref{Site: contact.DefaultSite, ID: "7"}

	events, last, err := timelines.Timeline(t.Context(), ref)
	require.NoError(t, err)
	require.Empty(t, events)
	require.True(t, last.IsZero())

	synced := time.Date(2026, 1, 2, 3, 4, 5, 6000000, time.UTC)
	require.NoError(t, timelines.Add(t.Context(), ref, history.Event{Time: synced, Kind: history.Synced, Outcome: "created", UserID: 3}))
	for range 40 {
		require.NoError(t, timelines.Add(t.Context(), ref, history.Event{Time: synced.Add(time.Hour), Kind: history.Retrying, Code: "outage"}))
	}
	events, last, err = timelines.Timeline(t.Context(), ref)
	require.NoError(t, err)
	require.Len(t, events, 20)
	require.Equal(t, "outage", events[0].Code)
	require.Equal(t, synced, last)
	ttl, err := rdb.TTL(t.Context(), "spw:h:default:7").Result()
	require.NoError(t, err)
	require.Positive(t, ttl)
}
