package torture

import (
	"bufio"
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// tap stands between a worker and Redis and reads the commands, so that a test
// can stop a worker at one of them.
type tap struct {
	addr     string
	listener net.Listener
	upstream string
	trap     *trap

	mu    sync.Mutex
	conns []net.Conn
}

func openTap(t *testing.T, upstream string, trap *trap) *tap {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &tap{addr: listener.Addr().String(), listener: listener, upstream: upstream, trap: trap}
	go p.serve()
	t.Cleanup(p.close)
	return p
}

func (p *tap) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
}

func (p *tap) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.upstream)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		answers := make(chan struct{}) // closed: they are held back
		go p.forward(client, server, answers)
		go copyUntil(client, server, answers)
	}
}

// copyUntil passes answers on until they are to be held back.
func copyUntil(client, server net.Conn, stop <-chan struct{}) {
	defer client.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		select {
		case <-stop:
			_, _ = io.Copy(io.Discard, server)
			return
		default:
		}
		if n > 0 {
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// forward passes commands on, one after the other. At the trap's command the
// connection goes silent: with the command held back, or carried out and its
// answer held back.
func (p *tap) forward(client, server net.Conn, answers chan struct{}) {
	defer server.Close()
	reader := bufio.NewReader(client)
	for {
		raw, words, err := readCommand(reader)
		if err != nil {
			return
		}
		if silent, sprung := p.trap.command(words); silent {
			close(answers)
			if sprung && p.trap.after {
				_, _ = server.Write(raw)
			}
			if sprung {
				p.trap.spring()
			}
			_, _ = io.Copy(io.Discard, reader) // until the worker is killed
			return
		}
		if _, err := server.Write(raw); err != nil {
			return
		}
	}
}

// readCommand reads one command, an array of texts.
func readCommand(reader *bufio.Reader) (raw []byte, words []string, err error) {
	line := func() (string, error) {
		text, err := reader.ReadString('\n')
		raw = append(raw, text...)
		return strings.TrimRight(text, "\r\n"), err
	}
	head, err := line()
	if err != nil || !strings.HasPrefix(head, "*") {
		return raw, nil, err
	}
	count, err := strconv.Atoi(head[1:])
	if err != nil {
		return raw, nil, err
	}
	for range count {
		head, err := line()
		if err != nil {
			return raw, nil, err
		}
		size, err := strconv.Atoi(strings.TrimPrefix(head, "$"))
		if err != nil {
			return raw, nil, err
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(reader, text); err != nil {
			return raw, nil, err
		}
		raw = append(raw, text...)
		words = append(words, string(text[:size]))
	}
	return raw, words, nil
}

// tapped is a Redis that each worker reaches through a tap of its own.
type tapped struct {
	server *server
	t      *testing.T
	traps  map[string]*trap
}

func (s *tapped) url(name string) string {
	trap := s.traps[name]
	if trap == nil {
		return "redis://" + s.server.addr + "/0"
	}
	return "redis://" + openTap(s.t, s.server.addr, trap).addr + "/0"
}

func (s *tapped) crash(ctx context.Context, _ time.Duration) error {
	s.server.kill()
	return s.server.up(ctx)
}

func (s *tapped) freeze(context.Context, time.Duration) error { return nil }
func (s *tapped) folder() []string                            { return []string{s.server.dir} }
func (s *tapped) close()                                      { s.server.kill() }

func (s *tapped) client() redis.UniversalClient {
	return redis.NewClient(&redis.Options{Addr: s.server.addr})
}
