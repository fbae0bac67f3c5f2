package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stage is what one measurement works with. Like a test it ends at its first
// failed requirement and takes down in reverse order what it started, so the
// servers that packages ship for tests run on it.
type stage struct {
	testing.TB // only what is overridden below is ever called

	options Options
	bin     string
	dir     string

	mu       sync.Mutex
	cleanups []func()
	failures []error
	ended    bool
}

// onStage takes one measurement.
func onStage(ctx context.Context, m measurement, options Options, bin string) ([]Row, error) {
	dir, err := os.MkdirTemp("", "spillway-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	s := &stage{options: options, bin: bin, dir: dir}
	defer s.close()
	var rows []Row
	done := make(chan struct{})
	go func() { // FailNow ends a goroutine
		defer close(done)
		defer func() {
			if reason := recover(); reason != nil {
				s.fail(fmt.Errorf("panic: %v", reason))
			}
		}()
		rows = m.take(ctx, s)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = true
	}()
	<-done
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && len(s.failures) == 0 {
		s.failures = append(s.failures, errors.New("the measurement ended early"))
	}
	return rows, errors.Join(s.failures...)
}

func (s *stage) close() {
	for {
		s.mu.Lock()
		n := len(s.cleanups)
		if n == 0 {
			s.mu.Unlock()
			return
		}
		last := s.cleanups[n-1]
		s.cleanups = s.cleanups[:n-1]
		s.mu.Unlock()
		last()
	}
}

func (s *stage) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, err)
}

// Helper and the following methods are those of testing.TB that the servers
// for tests and package require call.
func (s *stage) Helper() {}

// Name is used in messages.
func (s *stage) Name() string { return "bench" }

// Cleanup runs f when the measurement has ended, the last one first.
func (s *stage) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// Errorf notes a failure.
func (s *stage) Errorf(format string, args ...any) {
	s.fail(errors.New(trace(fmt.Sprintf(format, args...))))
}

// FailNow ends the measurement.
func (s *stage) FailNow() { runtime.Goexit() }

// Fatal notes a failure and ends the measurement.
func (s *stage) Fatal(args ...any) {
	s.fail(errors.New(fmt.Sprint(args...)))
	runtime.Goexit()
}

// Skip is called when a program is not installed.
func (s *stage) Skip(args ...any) { s.Fatal(args...) }

// Failed says whether a requirement has failed.
func (s *stage) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.failures) > 0
}

// Logf shows what goes on.
func (s *stage) Logf(format string, args ...any) {
	_, _ = fmt.Fprintf(s.options.Out, "  "+format+"\n", args...)
}

// TempDir is a new folder that goes with the measurement.
func (s *stage) TempDir() string {
	dir, err := os.MkdirTemp(s.dir, "")
	require.NoError(s, err)
	return dir
}

// pick returns the shorter of two values for a quick run.
func pick[T any](s *stage, full, quick T) T {
	if s.options.Quick {
		return quick
	}
	return full
}

// eventually polls until a condition holds.
func (s *stage) eventually(ctx context.Context, within, every time.Duration, what string, condition func() bool) {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	poll := time.NewTicker(every)
	defer poll.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			s.Fatal(what, ": ", ctx.Err())
		case <-deadline.C:
			s.Fatal(what, ": not within ", within)
		case <-poll.C:
		}
	}
}

// rest waits, so that the measured programs are left alone for a while.
func (s *stage) rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		s.Fatal(ctx.Err())
	case <-timer.C:
	}
}

// trace shortens a requirement's message to the part that says what went wrong.
func trace(message string) string {
	var kept []string
	keep := false
	for line := range strings.Lines(message) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "Error:"):
			keep = true
			line = strings.TrimSpace(strings.TrimPrefix(line, "Error:"))
		case strings.HasPrefix(line, "Messages:"):
			keep = true
			line = strings.TrimSpace(strings.TrimPrefix(line, "Messages:"))
		case strings.HasPrefix(line, "Error Trace:"), strings.HasPrefix(line, "Test:"):
			keep = false
		}
		if keep && line != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		return message
	}
	return strings.Join(kept, "; ")
}

// closing closes something when the measurement has ended.
func (s *stage) closing(c io.Closer) { s.Cleanup(func() { _ = c.Close() }) }
