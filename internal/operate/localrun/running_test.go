package localrun_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/config"
	"spillway/internal/lab/logtest"
	"spillway/internal/operate/localrun"
)

func TestOtherCommandsFindARunOnlyWhileItIsUnderWay(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	_, ok := localrun.Running(folder)
	require.False(t, ok)
	environ, _ := addresses(t)
	stop := run(t, localrun.Options{
		Environ: append(environ, "SPILLWAY_REDIS_URL=embedded"), EnvFile: filepath.Join(folder, ".env"), Folder: folder,
		Webhooks: 5, Contacts: 1,
	})
	var path string
	require.Eventually(t, func() bool { path, ok = localrun.Running(folder); return ok }, 20*time.Second, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		found, err := config.WithEnvFile(nil, path)
		if err != nil {
			return false
		}
		settings, err := config.Load(config.Operator, nil, found)
		return err == nil && settings.Site.AppPassword != "" && settings.RedisURL != "" && settings.PublicURL != ""
	}, 20*time.Second, 50*time.Millisecond)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	stop()
	_, ok = localrun.Running(folder)
	require.False(t, ok)

	// A run that was killed leaves the file and no lock.
	require.NoError(t, os.WriteFile(filepath.Join(folder, "running.env"), []byte("SPILLWAY_REDIS_URL=redis://127.0.0.1:1\n"), 0o600))
	_, ok = localrun.Running(folder)
	require.False(t, ok)
}

func TestAnAddressThatIsTakenEndsTheRunWithTheRemedy(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	environ, _ := addresses(t)
	// The first of two variables counts.
	err = localrun.Run(t.Context(), localrun.Options{
		Environ: append([]string{"SPILLWAY_WORKER_ADDR=" + taken.Addr().String(), "SPILLWAY_REDIS_URL=embedded"}, environ...),
		EnvFile: filepath.Join(t.TempDir(), ".env"), Folder: t.TempDir(), Webhooks: 1000, Contacts: 100, Out: &logtest.Log{},
	})
	require.ErrorContains(t, err, "SPILLWAY_WORKER_ADDR")
}
