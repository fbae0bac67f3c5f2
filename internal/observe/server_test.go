package observe_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/lab/logtest"
	"spillway/internal/observe"
)

// serve runs a server and returns its address, a function that stops it, and
// a channel with what it returned.
func serve(t *testing.T, h http.Handler, log zerolog.Logger) (addr string, stop context.CancelFunc, done <-chan error) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	result := make(chan error, 1)
	go func() { result <- observe.ServeListener(ctx, listener, h, log) }()
	return listener.Addr().String(), cancel, result
}

func fetch(ctx context.Context, addr string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/?access_key=s3cret", nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestStopFinishesRequestsUnderWay(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	addr, stop, done := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-release
		_, _ = io.WriteString(w, "finished")
	}), zerolog.Nop())

	answer := make(chan string, 1)
	go func() {
		body, _ := fetch(t.Context(), addr)
		answer <- body
	}()
	<-begun
	stop()
	require.Eventually(t, func() bool {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, 30*time.Second, 5*time.Millisecond, "it takes connections after the stop")
	close(release)
	require.Equal(t, "finished", <-answer)
	require.NoError(t, <-done)
}

func TestAPanicIsLoggedWithoutWhatWasHandled(t *testing.T) {
	t.Parallel()
	var out logtest.Log
	addr, stop, done := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		panic(r.URL.RawQuery)
	}), zerolog.New(&out))
	_, err := fetch(t.Context(), addr)
	require.Error(t, err)
	stop()
	require.NoError(t, <-done)
	require.Contains(t, out.String(), "a request handler panicked")
	require.NotContains(t, out.String(), "s3cret")
}

func TestATakenAddressIsReported(t *testing.T) {
	t.Parallel()
	addr, _, _ := serve(t, http.NotFoundHandler(), zerolog.Nop())
	err := observe.Serve(t.Context(), addr, http.NotFoundHandler(), zerolog.Nop())
	require.EqualError(t, err, "listening on "+addr+": bind: address already in use")
}
