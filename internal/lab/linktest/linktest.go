// Package linktest gives tests connections that go bad while they are kept.
package linktest

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Silent stands before the server at an address. silence makes the connections
// there are carry nothing more, without closing them, as a router does that has
// forgotten them. Later ones are well.
func Silent(tb testing.TB, address string) (before string, silence func()) {
	tb.Helper()
	u, err := url.Parse(address)
	require.NoError(tb, err)
	target := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = listener.Close() })
	var made, silent atomic.Int64
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close()
				continue
			}
			number := made.Add(1)
			carry := func(from, to net.Conn) {
				defer to.Close()
				_, _ = io.Copy(writer(func(part []byte) (int, error) {
					if number <= silent.Load() {
						return len(part), nil
					}
					return to.Write(part)
				}), from)
			}
			go carry(in, out)
			go carry(out, in)
		}
	}()
	u.Host = listener.Addr().String()
	return u.String(), func() { silent.Store(made.Load()) }
}

type writer func(part []byte) (int, error)

func (w writer) Write(part []byte) (int, error) { return w(part) }

// ServeOnce serves one request on each connection, says that it keeps the
// connection, and closes it when the next request comes, as a server does that
// is tired of waiting at that moment.
func ServeOnce(tb testing.TB, handler http.Handler) (address string) {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(onceListener{listener}) }()
	tb.Cleanup(func() { _ = server.Close() })
	return "http://" + listener.Addr().String()
}

type onceListener struct{ net.Listener }

func (l onceListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &onceConn{Conn: conn}, nil
}

type onceConn struct {
	net.Conn
	answered atomic.Bool
}

func (c *onceConn) Write(part []byte) (int, error) {
	c.answered.Store(true)
	return c.Conn.Write(part)
}

func (c *onceConn) Read(part []byte) (int, error) {
	n, err := c.Conn.Read(part)
	if n > 0 && c.answered.Load() {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}
