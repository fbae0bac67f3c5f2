// Package redistest starts real, private Redis servers for tests, alone, as a
// cluster, or watched by Sentinels: each on a free port of 127.0.0.1 with a
// folder of its own, ended by its pid when the test ends.
package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/lab/freeport"
)

// Server is one running redis-server. It keeps its append-only file over
// [Server.Kill] and [Server.Restart].
type Server struct {
	Addr string // 127.0.0.1:PORT

	tb   testing.TB
	dir  string
	args []string
	env  []string
	bus  int // port of the cluster bus, in a cluster
	cmd  *exec.Cmd
}

// Need skips the test where no redis-server is on the PATH, or fails it when CI
// is set.
func Need(tb testing.TB) {
	tb.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		const remedy = "redis-server is not on the PATH: install Debian's package redis-server"
		if os.Getenv("CI") != "" {
			tb.Fatal(remedy)
		}
		tb.Skip(remedy)
	}
}

// Start runs a redis-server with append-only persistence and no eviction.
// Without redis-server on the PATH the test is skipped, or fails when CI is
// set. extra are further command-line options of redis-server.
func Start(tb testing.TB, extra ...string) *Server {
	tb.Helper()
	return StartIn(tb, nil, extra...)
}

// StartIn is [Start] with further variables in the server's environment.
func StartIn(tb testing.TB, environ []string, extra ...string) *Server {
	tb.Helper()
	Need(tb)
	port := freePort(tb)
	s := &Server{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), tb: tb, dir: tb.TempDir(), env: environ}
	s.args = append([]string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", s.dir,
		"--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction",
	}, extra...)
	s.Restart()
	tb.Cleanup(s.Kill)
	return s
}

// URL returns the server's address as SPILLWAY_REDIS_URL takes it.
func (s *Server) URL() string { return fmt.Sprintf("redis://%s/0", s.Addr) }

// Client returns a client that is closed when the test ends.
func (s *Server) Client() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: s.Addr})
	s.tb.Cleanup(func() { _ = client.Close() })
	return client
}

// Kill ends the server at once, as a crash would.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	s.written()
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// written waits until the append-only file has what was acknowledged: while a sync
// takes long, Redis keeps it in its own memory, and a kill would lose it. A server
// that does not answer is not waited for.
func (s *Server) written() {
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: time.Second})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		info, err := client.Info(ctx, "persistence").Result()
		if err != nil || !strings.Contains(info, "aof_buffer_length:") || strings.Contains(info, "aof_buffer_length:0\r\n") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Freeze stops the server where it is, as a machine that hangs: its connections
// stay open and nothing is answered.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(what os.Signal) {
	s.tb.Helper()
	require.NoError(s.tb, s.cmd.Process.Signal(what))
}

// Restart starts a server that was killed, from its append-only file, and
// waits until it answers.
func (s *Server) Restart() {
	s.tb.Helper()
	s.cmd = exec.Command("redis-server", s.args...)
	s.cmd.Env = append(os.Environ(), s.env...)
	require.NoError(s.tb, s.cmd.Start())
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer client.Close()
	require.Eventually(s.tb, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return client.Ping(ctx).Err() == nil
	}, 15*time.Second, 10*time.Millisecond, "redis-server at %s does not answer", s.Addr)
}

func freePort(tb testing.TB) int {
	tb.Helper()
	addr, err := freeport.Addr()
	require.NoError(tb, err)
	_, text, err := net.SplitHostPort(addr)
	require.NoError(tb, err)
	port, err := strconv.Atoi(text)
	require.NoError(tb, err)
	return port
}
