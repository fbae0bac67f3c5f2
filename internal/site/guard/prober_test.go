package guard_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/site/guard"
)

// prober runs the prober of a page until the test ends, and collects what it
// reports.
func prober(t *testing.T, web *httptest.Server, path string, trusted bool) (g *guard.Guard, reports chan error) {
	t.Helper()
	g, err := guard.New(redistest.Start(t).Client(), contact.DefaultSite, 50)
	require.NoError(t, err)
	var p *guard.Prober
	if trusted {
		p = guard.NewProber(g, web.URL+path, web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs)
	} else {
		p = guard.NewProber(g, web.URL+path, nil)
	}
	p.MeasureEvery(20*time.Millisecond, 20*time.Millisecond, time.Hour)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	reports = make(chan error, 100)
	go func() {
		defer close(done)
		p.Run(ctx, func(err error) { reports <- err })
	}()
	t.Cleanup(func() { stop(); <-done })
	return g, reports
}

func TestThePageIsMeasuredWithThePrivateAuthority(t *testing.T) {
	t.Parallel()
	web := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(web.Close)
	g, reports := prober(t, web, "/", true)
	polltest.Until(t, 30*time.Second, func() bool {
		base, err := g.PageBase(t.Context())
		require.NoError(t, err)
		return base > 0
	}, "the page's usual time is known")
	require.Empty(t, reports)

	_, reports = prober(t, web, "/?token=s3cret", false)
	err := <-reports
	require.ErrorContains(t, err, "unknown authority", "the cause is named")
	require.NotContains(t, err.Error(), "s3cret")
}

func TestAPageThatFailsIsSoonLeftAlone(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(web.Close)
	_, reports := prober(t, web, "/", false)
	require.ErrorContains(t, <-reports, "status 404")
	polltest.Until(t, 30*time.Second, func() bool { return asked.Load() == 5 }, "the page is asked for five times")
	polltest.Throughout(t, time.Second, func() bool { return asked.Load() == 5 }, "then it rests")
}
