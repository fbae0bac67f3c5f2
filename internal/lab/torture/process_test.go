package torture

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Who calls the CRM and the site is asked for each call: a worker that ends its
// passes must get its answers while it is waited for.
func TestAProcessThatStopsCanStillCall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	up, done := filepath.Join(dir, "up"), filepath.Join(dir, "done")
	script := `trap 'while [ ! -e "$2" ]; do sleep 0.01; done; exit 0' TERM; : > "$1"; while :; do sleep 0.01; done`
	p := newProcess("stops-late", "/bin/sh", []string{"-c", script, "sh", up, done}, nil, dir)
	require.NoError(t, p.start())
	t.Cleanup(p.kill)
	require.Eventually(t, func() bool { _, err := os.Stat(up); return err == nil }, 10*time.Second, 10*time.Millisecond)

	stopped := make(chan error, 1)
	go func() { stopped <- p.terminate() }()
	require.Eventually(t, p.isStopping, 10*time.Second, time.Millisecond, "a process that stops keeps everybody waiting")
	require.False(t, p.died(), "it is taken for dead")
	require.NoError(t, p.start())
	require.Equal(t, "stops-late/1", p.life(), "a second life began beside the first")
	require.NoError(t, os.WriteFile(done, nil, 0o600))
	require.NoError(t, <-stopped)
	require.False(t, p.died(), "its end was asked for")
	require.NoError(t, p.start())
	require.Equal(t, "stops-late/2", p.life())
}

func (p *process) isStopping() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopping
}
