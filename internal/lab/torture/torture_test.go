package torture

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
)

// TestTorture is the short form of `make torture`: half a minute of fire, for
// each way to run Redis, once with three sites at a time.
func TestTorture(t *testing.T) {
	t.Parallel()
	redistest.Need(t)
	bin, err := binaries()
	require.NoError(t, err)
	for mode, sites := range map[Mode]int{Always: 3, Sentinel: 1} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			report, err := Run(t.Context(), Options{
				Mode: mode, Seed: 11, Fire: 25 * time.Second, Bin: bin, Dir: t.TempDir(), Brief: true, Contacts: 60, Sites: sites, Pace: 200 * time.Millisecond,
			})
			require.NoError(t, err)
			t.Log("\n" + report.String())
			require.False(t, report.Failed(), report)
			require.Positive(t, report.Acknowledged)
		})
	}
}

// Leases of the queue are by the workers' clocks, so these take each other's
// work for abandoned, or never for abandoned: minutes apart, nothing is lost,
// doubled or stranded.
func TestTortureWithClocksApart(t *testing.T) {
	t.Parallel()
	redistest.Need(t)
	bin, dir := t.TempDir(), t.TempDir()
	require.NoError(t, Programs(t.Context(), bin, nil, true))
	report, err := Run(t.Context(), Options{
		Mode: Always, Seed: 5, Fire: 20 * time.Second, Bin: bin, Dir: dir, Brief: true, Contacts: 40,
		Pace: 200 * time.Millisecond, ClocksApart: 7 * time.Minute,
	})
	require.NoError(t, err)
	t.Log("\n" + report.String())
	require.False(t, report.Failed(), report)
	require.Positive(t, report.Acknowledged)
	require.InDelta(t, 14*60, clockOf(t, dir, "worker-1").Sub(clockOf(t, dir, "worker-2")).Seconds(), 120, "the clocks were not apart")
}

// clockOf is what a process's clock said when it began.
func clockOf(t *testing.T, dir, process string) time.Time {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(dir, process+".log"))
	require.NoError(t, err)
	first, _, _ := bytes.Cut(log, []byte("\n"))
	var line struct{ Time time.Time }
	require.NoError(t, json.Unmarshal(first, &line))
	return line.Time
}

// TestTheSuiteNoticesAMissingGuard runs it on a worker that forgets webhooks
// which arrive during a pass. See `make torture GUARD=` for other guards.
func TestTheSuiteNoticesAMissingGuard(t *testing.T) {
	t.Parallel()
	redistest.Need(t)
	guard, err := Guard("gen")
	require.NoError(t, err)
	bin := t.TempDir()
	require.NoError(t, Build(t.Context(), bin, guard))
	report, err := Run(t.Context(), Options{
		Mode: Always, Seed: 1, Fire: 8 * time.Second, Bin: bin, Dir: t.TempDir(), Brief: true, Contacts: 20,
		Pace: 100 * time.Millisecond, Every: time.Hour, // nothing has to go wrong
	})
	require.NoError(t, err)
	require.Positive(t, report.Lost, report)
}

func TestEveryGuardIsStillWhereTheSuiteTakesItOut(t *testing.T) {
	t.Parallel()
	roots, err := findRoots(t.Context())
	require.NoError(t, err)
	for _, name := range Guards() {
		guard, err := Guard(name)
		require.NoError(t, err)
		_, err = roots.overlay(t.TempDir(), []*Mutation{guard, clocks()})
		require.NoError(t, err)
	}
	_, err = Guard("no such guard")
	require.Error(t, err)
	missing := &Mutation{Name: "x", Cuts: []Cut{{File: "go.mod", Old: "not in there", New: ""}}}
	_, err = roots.overlay(t.TempDir(), []*Mutation{missing})
	require.Error(t, err)
}
