package localrun

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"spillway/internal/config"
	"spillway/internal/pending"
	"spillway/internal/redisconn"
)

// store is the Redis of a local run.
type store struct {
	url    string
	notice string // what the person should know about it
	stop   func()
}

// openStore returns a private redis-server that keeps its data in dir, or, if
// there is no redis-server on the PATH, a Redis inside this process that keeps
// nothing.
func openStore(ctx context.Context, dir string, embedded bool) (*store, error) {
	program, err := exec.LookPath("redis-server")
	if embedded || err != nil {
		return openEmbedded(ctx, embedded)
	}
	return openChild(ctx, program, dir)
}

// openEmbedded starts the in-process Redis. Its keys expire only when its
// clock is moved, so that is done once a second.
func openEmbedded(ctx context.Context, asked bool) (*store, error) {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("starting the embedded Redis: %w", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
				server.FastForward(time.Second)
			}
		}
	}()
	notice := "Redis: embedded in this process, because there is no redis-server on the PATH. IT KEEPS NOTHING: when this command stops, outstanding webhooks are lost. Install redis-server (apt-get install redis-server) to keep them."
	if asked {
		notice = "Redis: embedded in this process, as SPILLWAY_REDIS_URL says. IT KEEPS NOTHING: when this command stops, outstanding webhooks are lost."
	}
	return &store{
		url:    "redis://" + server.Addr() + "/0",
		notice: notice,
		stop:   func() { cancel(); server.Close() },
	}, nil
}

// openChild runs redis-server as a child that ends with this process.
func openChild(ctx context.Context, program, dir string) (*store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the folder of Redis: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of Redis: %w", err)
	}
	unlock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	port, err := freePort(ctx)
	if err != nil {
		unlock()
		return nil, err
	}
	output, err := os.OpenFile(filepath.Join(dir, "redis.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		unlock()
		return nil, fmt.Errorf("opening the log of Redis: %w", err)
	}
	cmd := exec.Command(program, //nolint:gosec,noctx // the program is redis-server from the PATH; it outlives ctx until stop
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction")
	cmd.Stdout, cmd.Stderr = output, output
	// A group of its own: Ctrl-C in the terminal reaches Spillway alone, which
	// stops Redis last.
	cmd.SysProcAttr = ownGroup()
	ended, started := make(chan struct{}), make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the thread ends that started the
		// child, so that thread has to stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended stands in its log
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		_ = output.Close()
		unlock()
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	s := &store{
		url:    fmt.Sprintf("redis://127.0.0.1:%d/0", port),
		notice: fmt.Sprintf("Redis: a private redis-server on 127.0.0.1:%d, its append-only file is kept in %s", port, dir),
	}
	s.stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		_ = output.Close()
		unlock()
	}
	if err := awaitRedis(ctx, s.url, ended); err != nil {
		s.stop()
		return nil, fmt.Errorf("waiting for redis-server: %w; its log is %s", err, output.Name())
	}
	return s, nil
}

// lockFolder prevents two runs from writing the same files.
func lockFolder(dir string) (release func(), err error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the folder %s: %w", dir, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("another `spillway run` uses %s: stop it first", dir)
	}
	return func() { unlock(file) }, nil
}

// unlock gives a lock back. Closing alone would leave it to a child that is
// between fork and exec.
func unlock(file *os.File) {
	_ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
	_ = file.Close()
}

func awaitRedis(ctx context.Context, url string, ended <-chan struct{}) error {
	options, err := redis.ParseURL(url)
	if err != nil {
		return err
	}
	options.MaxRetries = -1
	client := redis.NewClient(options)
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if err = client.Ping(ctx).Err(); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-ended:
			return errors.New("it stopped by itself")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func freePort(ctx context.Context) (int, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil //nolint:forcetypeassert // a TCP listener has a TCP address
}

// statsOf reads the counters of a site straight from Redis: the admin API may ask
// for a password.
func statsOf(ctx context.Context, settings config.Config) (pending.Stats, error) {
	client, err := redisconn.Open(settings.RedisURL, redisconn.ForWorker)
	if err != nil {
		return pending.Stats{}, err
	}
	defer client.Close()
	return pending.New(client, pending.Options{Site: settings.Name, Queues: settings.Queues}).Stats(ctx)
}
