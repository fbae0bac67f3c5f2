package ingest_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/ingest"
)

// serve runs the server on a free port until the test ends, or stop is called,
// which returns when the server has.
func serve(t *testing.T, server *ingest.Server) (address string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(ctx, listener) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-stopped)
	})
	t.Cleanup(stop)
	return listener.Addr().String(), stop
}

func TestStopFinishesTheWebhookUnderWay(t *testing.T) {
	t.Parallel()

	entered, release := make(chan struct{}), make(chan struct{})
	b := setup(t, submit(func(ctx context.Context, _ contact.Ref, _ contact.Intent, _ contact.Receipt) (bool, error) {
		close(entered)
		<-release
		return false, ctx.Err()
	}))
	address, stop := serve(t, b.server)

	answered := make(chan *http.Response, 1)
	go func() {
		response, err := http.Get("http://" + address + query + "wpf_action=update&contact_id=5")
		if err != nil {
			close(answered)
			return
		}
		_ = response.Body.Close()
		answered <- response
	}()
	<-entered
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, 30*time.Second, 5*time.Millisecond, "a server that stops must take no more webhooks")
	select {
	case <-stopped:
		require.Fail(t, "the server stopped before the webhook was answered")
	default:
	}
	close(release)
	response, ok := <-answered
	require.True(t, ok, "the webhook under way got no answer")
	require.Equal(t, http.StatusOK, response.StatusCode)
	<-stopped
}

func TestServerNamesNoSoftware(t *testing.T) {
	t.Parallel()

	address, _ := serve(t, setup(t, submit(accept)).server)
	response, err := http.Get("http://" + address + query + "wpf_action=test")
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	require.Empty(t, response.Header.Values("Server"))
	require.Empty(t, response.Header.Values("X-Powered-By"))
}

// How a body comes that nobody needs changes nothing: its sender gets the answer
// and may keep the connection.
func TestBodyThatIsNotNeededIsTakenAsItComes(t *testing.T) {
	t.Parallel()

	submitted := &kept{}
	address, _ := serve(t, setup(t, submitted).server)
	const large = 3 << 20
	complete := "http://" + address + query + "wpf_action=update&contact_id=5"
	for name, c := range map[string]struct {
		body     func() io.Reader
		expected bool // Expect: 100-continue
	}{
		"with a length":       {body: func() io.Reader { return strings.NewReader(strings.Repeat("x", large)) }},
		"chunked":             {body: func() io.Reader { return io.LimitReader(endless{}, large) }},
		"announced":           {body: func() io.Reader { return strings.NewReader(strings.Repeat("x", large)) }, expected: true},
		"announced, chunked":  {body: func() io.Reader { return io.LimitReader(endless{}, large) }, expected: true},
		"small and announced": {body: func() io.Reader { return strings.NewReader("x") }, expected: true},
	} {
		client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodGet} {
			var reused bool
			for range 2 {
				trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }}
				request, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), method, complete, c.body())
				require.NoError(t, err)
				request.Header.Set("Content-Type", "text/plain")
				if c.expected {
					request.Header.Set("Expect", "100-continue")
				}
				response, err := client.Do(request)
				require.NoError(t, err, name)
				_, err = io.Copy(io.Discard, response.Body)
				require.NoError(t, err, name)
				require.NoError(t, response.Body.Close())
				require.Equal(t, http.StatusOK, response.StatusCode, name)
				require.False(t, response.Close, name)
				require.Equal(t, []string{"5"}, submitted.take(), name)
			}
			require.True(t, reused, "%s: the connection was not kept", name)
		}
		client.CloseIdleConnections()
	}
}

func TestEndlessBodyIsAnsweredAndTheConnectionClosed(t *testing.T) {
	t.Parallel()

	submitted := &kept{}
	address, _ := serve(t, setup(t, submitted).server)
	for name, c := range map[string]struct {
		target string
		body   io.Reader
		status int
	}{
		"a webhook":           {query + "wpf_action=update&contact_id=5", io.LimitReader(endless{}, 64<<20), 200},
		"with a length":       {query + "wpf_action=update&contact_id=5", strings.NewReader(strings.Repeat("x", 20<<20)), 200},
		"that is needed":      {query + "wpf_action=update", io.LimitReader(endless{}, 64<<20), 413},
		"without a known key": {"/?wpf_action=update&contact_id=5&access_key=x", io.LimitReader(endless{}, 64<<20), 403},
	} {
		response, err := http.Post("http://"+address+c.target, "application/x-www-form-urlencoded", c.body)
		require.NoError(t, err, name)
		_ = response.Body.Close()
		require.Equal(t, c.status, response.StatusCode, name)
		require.True(t, response.Close, name)
	}
	require.Len(t, submitted.take(), 2)
}

// A sender that says that more is to come than it sends is heard, and told so
// once it has ended.
func TestBodyThatNeverComesHoldsNoWebhookBack(t *testing.T) {
	t.Parallel()

	submitted := make(chan string, 1)
	address, _ := serve(t, setup(t, submit(func(_ context.Context, ref contact.Ref, _ contact.Intent, _ contact.Receipt) (bool, error) {
		submitted <- ref.ID
		return false, nil
	})).server)
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, "POST "+query+"wpf_action=update&contact_id=5 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{")
	require.NoError(t, err)
	require.Equal(t, "5", <-submitted, "nothing of the body is needed")
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 200 OK\r\n", line)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestUnusualRequestsAreAnsweredOverTheWire(t *testing.T) {
	t.Parallel()

	address, _ := serve(t, setup(t, submit(accept)).server)
	for request, want := range map[string]string{
		"GET /?access_key=" + key + "&wpf_action=update&contact_id=5%0d%0aX-Injected:%201 HTTP/1.1\r\nHost: x\r\n\r\n": "HTTP/1.1 400 Bad Request\r\n",
		"GET /?access_key=" + key + "&wpf_action=test HTTP/1.0\r\n\r\n":                                                "HTTP/1.0 200 OK\r\n",
		"GET /\xff?access_key=" + key + "&wpf_action=update&contact_id=5&x=\xff HTTP/1.1\r\nHost: x\r\n\r\n":           "HTTP/1.1 200 OK\r\n",
		"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n":                                                                "HTTP/1.1 403 Forbidden\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 64<<10) + "\r\n\r\n":                             "HTTP/1.1 431 Request Header Fields Too Large\r\n",
	} {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		go func() { _, _ = io.WriteString(conn, request) }()
		head := bufio.NewReader(conn)
		status, err := head.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, want, status)
		for line := status; line != "\r\n" && err == nil; line, err = head.ReadString('\n') {
			require.NotContains(t, line, "X-Injected")
		}
		require.NoError(t, conn.Close())
	}
}

func TestRunSaysWhichAddressItCannotListenOn(t *testing.T) {
	t.Parallel()

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	server := ingest.New(ingest.Options{Addr: taken.Addr().String()})
	require.ErrorContains(t, server.Run(t.Context()), "listening on "+taken.Addr().String())
}

// pipes is a listener of connections in memory, whose deadlines run on the
// clock of a synctest bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.done) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.close()
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

func TestSlowSendersAreCutOff(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		head, trickle string
		within        time.Duration
		answer        string
	}{
		"headers": {"GET / HTTP/1.1\r\nHost: x\r\n", "X-A: b\r\n", 5 * time.Second, ""},
		"body": {
			"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\n",
			"x", 10 * time.Second, "HTTP/1.1 403 Forbidden",
		},
		"next request": {"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "", 75 * time.Second, "HTTP/1.1 200 OK"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				listener, stopped := newPipes(), make(chan error, 1)
				go func() { stopped <- b.server.Serve(ctx, listener) }()

				conn := listener.dial()
				began := time.Now()
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					_, err := io.WriteString(conn, c.head)
					for err == nil && c.trickle != "" {
						time.Sleep(time.Second)
						_, err = io.WriteString(conn, c.trickle)
					}
				}()
				answer, err := io.ReadAll(conn)
				require.NoError(t, err)
				require.LessOrEqual(t, time.Since(began), c.within+time.Second)
				require.True(t, strings.HasPrefix(string(answer), c.answer), "%s", answer)

				_ = conn.Close()
				<-sent
				cancel()
				require.NoError(t, <-stopped)
			})
		})
	}
}

// Webhooks of the same moment share a deadline; none may get the rest of an
// older one, or none at all.
func TestWebhookHasThreeSecondsWhateverCameBefore(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		var given []time.Duration
		b := setup(t, submit(func(ctx context.Context, ref contact.Ref, _ contact.Intent, _ contact.Receipt) (bool, error) {
			end, _ := ctx.Deadline()
			given = append(given, time.Until(end))
			if ref.ID == "6" {
				<-ctx.Done() // Redis does not answer
			}
			return false, ctx.Err()
		}))
		for _, pause := range []time.Duration{0, time.Millisecond, 48 * time.Millisecond, 2 * time.Millisecond, 2 * time.Second, time.Minute} {
			time.Sleep(pause)
			require.Equal(t, http.StatusOK, b.call(http.MethodGet, query+"wpf_action=update&contact_id=5", "").Code)
		}
		const all = 3 * time.Second
		require.Equal(t, []time.Duration{all, all - time.Millisecond, all - 49*time.Millisecond, all, all, all}, given)

		time.Sleep(10 * time.Millisecond)
		began := time.Now()
		require.Equal(t, http.StatusServiceUnavailable, b.call(http.MethodGet, query+"wpf_action=update&contact_id=6", "").Code)
		require.Equal(t, all-10*time.Millisecond, time.Since(began))
	})
}
