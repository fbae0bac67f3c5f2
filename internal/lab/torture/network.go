package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"spillway/internal/lab/freeport"
)

// network is every connection between the programs and what they call. Each
// link is one program's way to one server, so that one of them can be cut while
// the others hold.
type network struct {
	server *toxiproxy.ApiServer

	mu    sync.Mutex
	links []*link
}

func newNetwork() *network {
	return &network{server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())}
}

// link is a proxy on a port of its own.
type link struct {
	name  string
	addr  string
	proxy *toxiproxy.Proxy

	mu     sync.Mutex // one disturbance at a time
	toxics []string
}

// connect returns a link to a server at addr.
func (n *network) connect(name, addr string) (*link, error) {
	listen, err := freeport.Addr()
	if err != nil {
		return nil, err
	}
	proxy := toxiproxy.NewProxy(n.server, name, listen, addr)
	if err := proxy.Start(); err != nil {
		return nil, fmt.Errorf("opening the link %s: %w", name, err)
	}
	l := &link{name: name, addr: listen, proxy: proxy}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links = append(n.links, l)
	return l, nil
}

func (n *network) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		l.proxy.Stop()
	}
}

// cut closes every connection and refuses new ones until mend.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proxy.Stop()
}

// mend takes every disturbance back.
func (l *link) mend(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range l.toxics {
		if err := l.proxy.Toxics.RemoveToxic(ctx, name); err != nil {
			return fmt.Errorf("mending the link %s: %w", l.name, err)
		}
	}
	l.toxics = nil
	if err := l.proxy.Start(); err != nil && err != toxiproxy.ErrProxyAlreadyStarted { //nolint:errorlint // it is returned as it is
		return fmt.Errorf("mending the link %s: %w", l.name, err)
	}
	return nil
}

// disturb adds a toxic in both directions, or one.
func (l *link) disturb(kind string, attributes map[string]int64, streams ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, direction := range streams {
		name := kind + " " + direction
		body, err := json.Marshal(map[string]any{
			"name": name, "type": kind, "stream": direction, "toxicity": 1, "attributes": attributes,
		})
		if err != nil {
			return err
		}
		if _, err := l.proxy.Toxics.AddToxicJson(bytes.NewReader(body)); err != nil {
			return fmt.Errorf("disturbing the link %s: %w", l.name, err)
		}
		l.toxics = append(l.toxics, name)
	}
	return nil
}
