package redistest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
	"spillway/internal/redisconn"
)

func TestReplicaTakesOverWhenTheMasterIsKilled(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	client, err := redisconn.Open(s.URL(), redisconn.ForWorker)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	require.NoError(t, client.Set(t.Context(), "k", "v", 0).Err())
	s.Master.Kill()
	s.AwaitPromotion()
	require.Eventually(t, func() bool {
		return client.Set(t.Context(), "k", "w", 0).Err() == nil
	}, 60*time.Second, 50*time.Millisecond)
}

func TestClusterGoesOnWhenAMasterIsKilled(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	client, err := redisconn.Open(c.URL(), redisconn.ForWorker)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	for _, key := range []string{"a", "b", "c"} {
		require.NoError(t, client.Set(t.Context(), key, "v", 0).Err())
	}
	master := c.MasterOf("a")
	c.Masters[master].Kill()
	c.AwaitPromotion(master)
	require.Eventually(t, func() bool {
		return client.Set(t.Context(), "a", "w", 0).Err() == nil
	}, 60*time.Second, 50*time.Millisecond)
}
