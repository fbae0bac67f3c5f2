package pending_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/lab/pendingtest"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
)

// mostBytes is the bound on Redis's memory per pending contact, all keys
// counted.
const mostBytes = 700

func TestMemoryOfAPendingContactIsBounded(t *testing.T) {
	t.Parallel()
	const n = 100_000
	for name, options := range map[string]pending.Options{
		"at once":  {},
		"settling": {Settle: time.Minute},
		"4 queues": {Queues: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Start(t, "--appendonly", "no").Client()
			contacts := pending.New(rdb, options)
			require.NoError(t, pendingtest.Fill(t.Context(), contacts, 0, 1))
			before, err := pendingtest.UsedMemory(t.Context(), rdb)
			require.NoError(t, err)
			require.NoError(t, pendingtest.Fill(t.Context(), contacts, 1, n))
			after, err := pendingtest.UsedMemory(t.Context(), rdb)
			require.NoError(t, err)
			perContact := (after - before) / n
			t.Logf("%d bytes per pending contact", perContact)
			require.LessOrEqual(t, perContact, int64(mostBytes))
		})
	}
}

// commands returns how many commands Redis has run, scripts' own included.
func commands(t *testing.T, rdb *redis.Client) (calls int) {
	t.Helper()
	info, err := rdb.InfoMap(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	for _, line := range info["Commandstats"] {
		var n int
		_, err := fmt.Sscanf(line, "calls=%d,", &n)
		require.NoError(t, err)
		calls += n
	}
	return calls
}

// What looks at all contacts must not cost more the more there are.
func TestSweepAndStatsDoNotGrowWithPendingContacts(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t, "--appendonly", "no").Client()
	contacts := pending.New(rdb, pending.Options{})
	makeDue := func() {
		members := rdb.ZRangeWithScores(t.Context(), "spw:{spillway}:due", 0, 1999).Val()
		for i := range members {
			members[i].Score = 1
		}
		require.NoError(t, rdb.ZAdd(t.Context(), "spw:{spillway}:due", members...).Err())
	}
	cost := func() (sweep, stats int) {
		for range 2 { // the first time loads the scripts
			makeDue()
			begin := commands(t, rdb)
			_, err := contacts.Sweep(t.Context())
			require.NoError(t, err)
			middle := commands(t, rdb)
			_, err = contacts.Stats(t.Context())
			require.NoError(t, err)
			sweep, stats = middle-begin, commands(t, rdb)-middle
		}
		return sweep, stats
	}
	require.NoError(t, pendingtest.Fill(t.Context(), contacts, 0, 2_000))
	fewSweep, fewStats := cost()
	require.NoError(t, pendingtest.Fill(t.Context(), contacts, 2_000, 50_000))
	manySweep, manyStats := cost()
	require.Greater(t, fewSweep, 1000, "it looked at contacts")
	require.Equal(t, fewSweep, manySweep)
	require.Equal(t, fewStats, manyStats)

	scans, err := rdb.InfoMap(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	for _, command := range []string{"scan", "smembers", "keys", "sscan", "zscan"} {
		require.NotContains(t, scans["Commandstats"], "cmdstat_"+command)
	}
}
