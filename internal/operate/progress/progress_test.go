package progress_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/operate/progress"
)

func TestWithoutATerminalEachTenthIsALine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := progress.New(&out)
	bar := p.Bar("queued", 0, 1000)
	for done := range 1001 {
		bar.Set(int64(done))
	}
	bar.Note("paused")
	bar.Note("paused")
	p.Wait()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 11)
	require.Equal(t, "queued 100 / 1000", lines[0])
	require.Contains(t, lines[9], "queued 1000 / 1000")
	require.Contains(t, lines[10], "(paused)")
}
