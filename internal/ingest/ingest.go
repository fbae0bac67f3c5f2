// Package ingest is the server that takes the CRM's webhooks in the site's
// place: it checks the access key, records the work and answers.
//
// It guarantees: a webhook is answered with 200 only after its Submitter has
// recorded it; every other outcome has a status of its own and a body that says
// why; no key, query, path or body of a request reaches the log, the metrics or
// an answer, except the id of a contact and the name of an action after the key
// was accepted. It does no work itself and holds nothing between requests, so
// any number of replicas may run, and any of them may be killed: the caller
// then has no 2xx and sends the webhook again.
package ingest

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"spillway/internal/contact"
	"spillway/internal/observe"
)

// Submitter records that a contact has work to do. Once it has returned nil
// the work will be done; coalesced says that there was work for the contact
// already.
type Submitter interface {
	Submit(ctx context.Context, ref contact.Ref, intent contact.Intent, receipt contact.Receipt) (coalesced bool, err error)
}

// Options are what a server is made of.
type Options struct {
	// Addr is the address that [Server.Run] listens on.
	Addr string
	// AnswerWaiters is how many senders wait at a time; others are answered at
	// once.
	AnswerWaiters int
	// Certificate serves TLS 1.2 or later; nil: the server speaks plain HTTP.
	// [Server.SetCertificate] replaces it.
	Certificate *tls.Certificate
	// TrustedProxies are the proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Refusals is told the code of each refusal, and the site if an accepted key
	// told it; nil: none is.
	Refusals interface{ Count(site, code string) }
	Log      zerolog.Logger
	// Registerer gets the metrics; nil: there are none.
	Registerer prometheus.Registerer
	// Tracer begins the traces; nil: there are none.
	Tracer trace.TracerProvider
}

const (
	// submitTimeout leaves a caller that gives up after five seconds time to
	// receive the answer.
	submitTimeout = 3 * time.Second
	// submitStep is how much less than submitTimeout a webhook may get.
	submitStep = 50 * time.Millisecond
	// retryAfter is what a caller is asked to wait while Redis is away, in
	// seconds.
	retryAfter = "5"
	// complaintPeriod is how often the log says that Redis is away. The metrics
	// count every refusal.
	complaintPeriod = 10 * time.Second
)

// Server takes webhooks.
type Server struct {
	addr       string
	sites      atomic.Pointer[served]
	failures   *failures
	secure     bool
	shown      atomic.Pointer[tls.Certificate]
	waits      *waits
	refusals   interface{ Count(site, code string) }
	log        zerolog.Logger
	complaints zerolog.Logger // as log, but a line per complaintPeriod
	metrics    *metrics
	tracer     trace.Tracer
	submitting atomic.Pointer[context.Context] // see submitContext
	handler    http.Handler
}

// New returns a server that does not listen yet, and accepts no key until
// [Server.SetSites].
func New(options Options) *Server {
	s := &Server{
		addr: options.Addr, refusals: options.Refusals, log: options.Log,
		complaints: options.Log.Sample(&zerolog.BurstSampler{
			Burst: 1, Period: complaintPeriod,
		}),
		failures: newFailures(time.Now),
		waits:    newWaits(options),
		secure:   options.Certificate != nil,
	}
	s.metrics = newMetrics(options.Registerer, s.waits)
	s.sites.Store(&served{unknown: noSite})
	if options.Tracer == nil {
		options.Tracer = noop.NewTracerProvider()
	}
	s.tracer = options.Tracer.Tracer("spillway/internal/ingest")
	s.shown.Store(options.Certificate)
	s.handler = s.routes(options.TrustedProxies)
	return s
}

// SetCertificate replaces the certificate, from the next connection on. It does
// nothing for a server that was made without one.
func (s *Server) SetCertificate(certificate *tls.Certificate) { s.shown.Store(certificate) }

// Run listens on Options.Addr and serves until ctx ends. It then answers those
// who wait at once, gives requests under way ten seconds and returns nil. The
// error is that of an address that cannot be listened on.
//
// Webhooks are taken at any path, since CRMs call the path at which the site's
// endpoint used to be. GET /healthz and /readyz without a wpf_action answer 200
// as long as the process does. Readiness does not ask for Redis: a replica that
// is taken out of service while Redis is away would leave callers without the
// 503 that tells them when to come back.
func (s *Server) Run(ctx context.Context) error {
	listener, err := observe.Listen(ctx, s.addr)
	if err != nil {
		return err
	}
	return s.Serve(ctx, listener)
}

// Serve is [Server.Run] on a listener, which it closes.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	if s.secure {
		// HTTP/2 stays off: what sends a webhook needs no more than one request.
		listener = tls.NewListener(listener, &tls.Config{
			MinVersion: tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return s.shown.Load(), nil
			},
		})
	}
	defer context.AfterFunc(ctx, s.waits.stop)()
	return observe.ServeListener(ctx, listener, s.handler, s.log)
}

func (s *Server) routes(proxies []netip.Prefix) http.Handler {
	e := echo.New()
	e.IPExtractor = clientAddress(proxies)
	for _, path := range []string{"/healthz", "/readyz"} {
		e.GET(path, s.health)
		e.HEAD(path, s.health)
	}
	e.GET("/*", s.take)
	e.POST("/*", s.take)
	// Other methods, and paths that no route has (CONNECT has none at all), are
	// refused as any other webhook that is not one.
	e.RouteNotFound("/*", s.take)
	e.HTTPErrorHandler = func(_ error, c echo.Context) { _ = s.take(c) }
	return e
}

func (s *Server) health(c echo.Context) error {
	if strings.Contains(c.Request().URL.RawQuery, "wpf_action") {
		return s.take(c)
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusOK, map[string]string{"status": "ok"})
}
