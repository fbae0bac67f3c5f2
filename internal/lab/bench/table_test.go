package bench

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRowSaysWhetherItsBoundIsKept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		row                      Row
		measured, bound, verdict string
	}{
		{Row{Value: 0.6, Sense: AtLeast, Bound: 0.6}, "0.60", "≥ 0.60", "yes"},
		{Row{Value: 0.59, Sense: AtLeast, Bound: 0.6}, "0.59", "≥ 0.60", "no"},
		{Row{Value: 1.31, Sense: AtMost, Bound: 1.3}, "1.31", "≤ 1.30", "no"},
		{Row{Value: 636.4, Unit: "bytes", Sense: AtMost, Bound: 700}, "636 bytes", "≤ 700 bytes", "yes"},
		{Row{Value: 12.34, Unit: "MB"}, "12.3 MB", "", ""},
		{Row{Sense: AtMost, Bound: 0}, "0", "≤ 0", "yes"},
		{Row{Note: "not measured: no redis-server"}, "0", "", "not measured"},
	} {
		require.Equal(t, c.measured, c.row.measured())
		require.Equal(t, c.bound, c.row.bound())
		require.Equal(t, c.verdict, c.row.verdict())
	}
}

func TestReportComesBackAsMarkdown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "bench.json")
	report := Report{
		Machine: Machine{Cores: 2, CPU: "a processor", MemoryGB: 8, Redis: "7.0.15"},
		Rows: []Row{
			{Group: "ingest", What: "throughput", Value: 0.61, Sense: AtLeast, Bound: 0.6, Note: "10/s|20/s"},
			{Group: "drain", What: "passes", Value: 0.5, Sense: AtLeast, Bound: 0.9},
			{Group: "drain", What: "missing", Note: "not measured: why"},
		},
	}
	met, all := report.met()
	require.Equal(t, []int{1, 2}, []int{met, all})
	require.NoError(t, report.write(path))
	var out strings.Builder
	require.NoError(t, Markdown(path, &out))
	require.Contains(t, out.String(), "2 cores (a processor)")
	require.Contains(t, out.String(), "| throughput; 10/s/20/s | 0.61 | ≥ 0.60 | yes |\n")
	require.Contains(t, out.String(), "| passes | 0.50 | ≥ 0.90 | no |\n")
	require.Contains(t, out.String(), "| missing; not measured: why |  |  | not measured |\n")
	require.Equal(t, 1, strings.Count(out.String(), "**drain**"))
	require.ErrorContains(t, Markdown(filepath.Join(t.TempDir(), "none.json"), &out), "make bench")
}
