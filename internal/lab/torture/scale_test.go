package torture

import (
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
)

func TestBudgetsHoldOverAllWorkers(t *testing.T) {
	t.Parallel()
	redistest.Need(t)
	bin, err := binaries()
	require.NoError(t, err)
	results, err := Scale(t.Context(), ScaleOptions{
		Workers: []int{1, 2, 4, mostWorkers}, Contacts: 600, Rate: 160, Concurrency: 2, Bin: bin, Dir: t.TempDir(),
	})
	require.NoError(t, err)
	require.Len(t, results, 4)
	for _, result := range results {
		t.Log(result)
		require.Empty(t, result.Problems)
	}
}

func TestWorkersComeAndGoInMidBurst(t *testing.T) {
	t.Parallel()
	redistest.Need(t)
	bin, err := binaries()
	require.NoError(t, err)
	results, err := Scale(t.Context(), ScaleOptions{
		Workers: []int{2}, Contacts: 1500, Rate: 200, Concurrency: 2, Change: true, Bin: bin, Dir: t.TempDir(),
	})
	require.NoError(t, err)
	t.Log(results[0])
	require.Empty(t, results[0].Problems)
}
