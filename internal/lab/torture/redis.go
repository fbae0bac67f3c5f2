package torture

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/lab/freeport"
	"spillway/internal/lab/slowdisk"
)

// Mode is how Redis is run.
type Mode string

// The modes. With Always and EverySecond Redis is killed and comes back on its
// append-only file. On a quick disk a kill loses nothing in either: what was
// written is in the kernel's hands. EverySecond differs when the machine dies, by
// a second of acknowledged webhooks at most, which no test on one machine can
// show.
//
// On a slow disk Always still loses nothing. EverySecond does: while a sync takes
// long, Redis keeps in its own memory what it has acknowledged.
const (
	Always          Mode = "always"
	EverySecond     Mode = "everysec"
	SlowAlways      Mode = "slow-always"
	SlowEverySecond Mode = "slow-everysec"
	// Sentinel is a master with one replica and three Sentinels. The master is
	// killed and the replica takes over. min-replicas-to-write is 1: a master
	// without its replica takes no writes, so ingest refuses webhooks until the
	// killed one is back.
	Sentinel Mode = "sentinel"
)

// By how much longer a sync takes on the slow disk. With each write it is that of
// a small virtual machine; each second, that of a disk on which the append-only
// file is being rewritten.
const (
	slowWrite  = 50 * time.Millisecond
	slowSecond = 700 * time.Millisecond
)

// disk returns how often Redis syncs, and the variables of its disk.
func (m Mode) disk(ctx context.Context, dir string) (fsync string, environ []string, err error) {
	fsync, slow := strings.CutPrefix(string(m), "slow-")
	if slow {
		delay := slowWrite
		if m == SlowEverySecond {
			delay = slowSecond
		}
		environ, err = slowdisk.Environ(ctx, dir, delay)
	}
	return fsync, environ, err
}

// store is the Redis of a run.
type store interface {
	url(name string) string // as the named program is to reach it
	client() redis.UniversalClient
	// crash kills the server that takes writes and brings it back after a
	// pause; it returns when a server takes writes again.
	crash(ctx context.Context, pause time.Duration) error
	freeze(ctx context.Context, d time.Duration) error
	folder() []string // where data lies
	close()
}

// server is one redis-server.
type server struct {
	*process
	addr string
	dir  string
}

func newServer(name, dir string, options ...string) (*server, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errNoRedis
	}
	addr, err := freeport.Addr()
	if err != nil {
		return nil, err
	}
	own := filepath.Join(dir, name)
	if err := os.MkdirAll(own, 0o700); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	// Sentinel writes into the file which server is whose replica.
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nsave \"\"\nmaxmemory-policy noeviction\n", port, own)
	for _, option := range options {
		text += option + "\n"
	}
	file := filepath.Join(own, "redis.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return &server{process: newProcess(name, path, []string{file}, nil, dir), addr: addr, dir: own}, nil
}

// asSentinel turns a server that has not started into a Sentinel.
func (s *server) asSentinel(options ...string) error {
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\n%s\n", port, s.dir, strings.Join(options, "\n"))
	s.args = append(s.args, "--sentinel")
	return os.WriteFile(s.args[0], []byte(text), 0o600)
}

func (s *server) ping(ctx context.Context) error {
	client := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: time.Second})
	defer client.Close()
	return client.Ping(ctx).Err()
}

// up starts the server and waits until it answers.
func (s *server) up(ctx context.Context) error {
	if err := s.start(); err != nil {
		return err
	}
	return poll(ctx, 30*time.Second, "waiting for "+s.name, s.ping)
}

// single is one server with an append-only file.
type single struct {
	*server
}

func newSingle(ctx context.Context, dir string, mode Mode) (*single, error) {
	fsync, environ, err := mode.disk(ctx, dir)
	if err != nil {
		return nil, err
	}
	s, err := newServer("redis", dir, "appendonly yes", "appendfsync "+fsync)
	if err != nil {
		return nil, err
	}
	s.env = append(s.env, environ...)
	return &single{s}, s.up(ctx)
}

func (s *single) url(string) string { return "redis://" + s.addr + "/0" }

func (s *single) client() redis.UniversalClient { return redis.NewClient(&redis.Options{Addr: s.addr}) }

func (s *single) crash(ctx context.Context, pause time.Duration) error {
	s.kill()
	wait(ctx, pause)
	return s.up(context.WithoutCancel(ctx))
}

func (s *single) freeze(ctx context.Context, d time.Duration) error {
	s.process.freeze()
	wait(ctx, d)
	s.thaw()
	return nil
}

func (s *single) folder() []string { return []string{s.dir} }
func (s *single) close()           { s.kill() }

// wait sleeps, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// poll repeats try until it succeeds.
func poll(ctx context.Context, within time.Duration, what string, try func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s, given up after %v: %w", what, within, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
