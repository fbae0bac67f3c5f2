package rotation_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/assembly/rotation"
	"spillway/internal/lab/logtest"
)

type bundle struct {
	path   string
	log    *logtest.Log
	signal chan os.Signal

	mu    sync.Mutex
	value string
	loads int
	away  bool // what Load needs beside the file
}

// setup watches a file whose value may be anything but "wrong", in a bubble of
// synctest.
func setup(t *testing.T, path string) *bundle {
	t.Helper()
	b := &bundle{path: path, log: &logtest.Log{}, signal: make(chan os.Signal, 1)}
	load := func() error {
		text, err := os.ReadFile(path)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.loads++
		switch {
		case err != nil:
			return errors.New("the file cannot be read")
		case string(text) == "wrong":
			return errors.New("the value is wrong")
		case b.away:
			return errors.New("Redis is away")
		}
		b.value = string(text)
		return nil
	}
	require.NoError(t, load())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		rotation.Watch(ctx, rotation.Options{
			Items:  []rotation.Item{{Name: "the value", Files: func() []string { return []string{path} }, Load: load}, {Name: "the rest"}},
			Signal: b.signal, Log: zerolog.New(b.log),
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	// Watching has begun when a signal is answered.
	b.signal <- syscall.SIGHUP
	synctest.Wait()
	require.Equal(t, 2, b.loaded())
	return b
}

// looks lets the watch look at the file several times.
func looks() {
	time.Sleep(10 * time.Second)
	synctest.Wait()
}

func (b *bundle) current() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.value
}

func (b *bundle) loaded() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.loads
}

func (b *bundle) setAway(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
}

func (b *bundle) requireValue(t *testing.T, want string) {
	t.Helper()
	looks()
	require.Equal(t, want, b.current())
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestAChangedFileIsTakenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "value")
		write(t, path, "one")
		b := setup(t, path)
		write(t, path, "two")
		b.requireValue(t, "two")

		// A file that takes the other's name.
		other := path + ".new"
		write(t, other, "three")
		require.NoError(t, os.Rename(other, path))
		b.requireValue(t, "three")
	})
}

// Kubernetes puts every version of a Secret into a folder of its own and
// exchanges a link to the folder, to which the file's name is a link.
func TestAnExchangedLinkIsTakenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for version, value := range map[string]string{"..1": "one", "..2": "two"} {
			require.NoError(t, os.Mkdir(filepath.Join(dir, version), 0o700))
			write(t, filepath.Join(dir, version, "value"), value)
		}
		require.NoError(t, os.Symlink("..1", filepath.Join(dir, "..data")))
		require.NoError(t, os.Symlink(filepath.Join("..data", "value"), filepath.Join(dir, "value")))
		b := setup(t, filepath.Join(dir, "value"))
		require.Equal(t, "one", b.current())
		require.NoError(t, os.Symlink("..2", filepath.Join(dir, "..data_tmp")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
		b.requireValue(t, "two")
	})
}

func TestAWrongFileChangesNothingAndIsLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "value")
		write(t, path, "one")
		b := setup(t, path)
		wrong := func() int { return strings.Count(b.log.String(), `"level":"error"`) }
		write(t, path, "wrong")
		looks()
		require.Equal(t, 1, wrong())
		require.NoError(t, os.Remove(path))
		looks()
		require.Equal(t, 2, wrong())
		require.Equal(t, "one", b.current())
		require.Contains(t, b.log.String(), "the value is wrong")
		write(t, path, "two")
		b.requireValue(t, "two")
		require.Equal(t, 2, wrong())
	})
}

// A site that comes while Redis is away is served once it is back.
func TestWhatFailedForAnotherReasonIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "value")
		write(t, path, "one")
		b := setup(t, path)
		b.setAway(true)
		write(t, path, "two")
		b.requireValue(t, "one")
		require.Equal(t, 1, strings.Count(b.log.String(), "Redis is away"))
		b.setAway(false)
		b.requireValue(t, "two")
	})
}

func TestASignalSaysWhatCannotChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "value")
		write(t, path, "one")
		b := setup(t, path)
		require.Contains(t, b.log.String(), `"what":"the rest","message":"nothing to read again`)
	})
}
