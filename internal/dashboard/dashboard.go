// Package dashboard is the admin address: health, metrics, the API that shows
// and moves contacts, a page for people, and asynq's own monitor.
//
// Health and metrics are open; everything else asks for HTTP Basic
// authentication as user admin, if a password is set. Without one the address
// must be a loopback one, and only requests for a loopback host name are
// served, so that no page in the operator's browser can reach the API through a
// host name of its own. Requests that change something are refused when they
// come from another origin.
package dashboard

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"html/template"
	"net"
	"net/http"
	"time"

	"github.com/hibiken/asynqmon"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"spillway/internal/contact"
	"spillway/internal/history"
	"spillway/internal/pending"
	"spillway/internal/throttle"
)

// Options are what the admin address is made of.
type Options struct {
	Contacts  *pending.Contacts
	Timelines *history.Timelines
	// Systems tells whether the CRM and the site are called, held or probed.
	// Nil: the statistics leave it out.
	Systems interface {
		Read(ctx context.Context) ([]throttle.Status, error)
	}
	// Redis is the connection of asynq's monitor.
	Redis redis.UniversalClient
	// Password of the user admin; empty: no authentication, loopback only.
	Password string
	// Health answers /healthz, /readyz and /metrics.
	Health http.Handler
	// Site is the name of the site whose contacts are shown.
	Site string
	Log  zerolog.Logger
}

// User is the name that goes with the password.
const User = "admin"

// callTimeout bounds the work of one request.
const callTimeout = 20 * time.Second

type dashboard struct {
	Options
	template *template.Template
}

// New returns the handler of the admin address.
func New(options Options) http.Handler {
	d := &dashboard{Options: options, template: parsePage()}
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = d.answerError
	e.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{
		DisableStackAll: true,
		LogErrorFunc: func(_ echo.Context, err error, stack []byte) error {
			d.Log.Error().Err(err).Bytes("stack", stack).Msg("a request of the admin address panicked")
			return err
		},
	}), middleware.BodyLimit("64K"), middleware.ContextTimeout(callTimeout))

	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		e.GET(path, echo.WrapHandler(options.Health))
	}
	guarded := e.Group("", d.sameOrigin, d.authenticate, secureHeaders)
	guarded.GET("/", d.page)
	api := guarded.Group("/api/v1")
	api.GET("/stats", d.stats)
	api.GET("/parked", d.listParked)
	api.POST("/parked/retry", d.retryParked)
	api.GET("/contacts/:id", d.contact)
	api.POST("/contacts/:id/sync", d.syncContact)

	monitor := asynqmon.New(asynqmon.Options{
		RootPath: "/monitor", RedisConnOpt: connection{options.Redis},
		// Deleting tasks here would only delay contacts: the records are what counts.
		ReadOnly: true,
	})
	guarded.Any("/monitor", echo.WrapHandler(monitor))
	guarded.Any("/monitor/*", echo.WrapHandler(monitor))
	return e
}

// connection lends a client to asynqmon.
type connection struct{ client redis.UniversalClient }

func (c connection) MakeRedisClient() any { return c.client }

// sameOrigin refuses changes that a page of another origin asks for, and host
// names that are not this machine's when there is no password.
func (d *dashboard) sameOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	protection := http.NewCrossOriginProtection()
	return func(c echo.Context) error {
		if err := protection.Check(c.Request()); err != nil {
			return refuse(http.StatusForbidden, "cross_origin", "requests from another origin are refused")
		}
		if d.Password == "" && !loopback(c.Request().Host) {
			return refuse(http.StatusForbidden, "not_loopback",
				"without SPILLWAY_ADMIN_PASSWORD the admin address answers to 127.0.0.1, [::1] and localhost only")
		}
		return next(c)
	}
}

func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func (d *dashboard) authenticate(next echo.HandlerFunc) echo.HandlerFunc {
	if d.Password == "" {
		return next
	}
	want := sha256.Sum256([]byte(User + ":" + d.Password))
	return func(c echo.Context) error {
		user, password, _ := c.Request().BasicAuth()
		got := sha256.Sum256([]byte(user + ":" + password))
		if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			c.Response().Header().Set(echo.HeaderWWWAuthenticate, `Basic realm="Spillway", charset="UTF-8"`)
			return refuse(http.StatusUnauthorized, "unauthorized", "sign in as admin with SPILLWAY_ADMIN_PASSWORD")
		}
		return next(c)
	}
}

// secureHeaders also keeps asynq's monitor from loading fonts from elsewhere.
func secureHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", "default-src 'self' 'unsafe-inline' data:; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		return next(c)
	}
}

// refusal is an error answer.
type refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func refuse(status int, code, message string) error {
	return echo.NewHTTPError(status, refusal{code, message})
}

func (d *dashboard) answerError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	status, answer := http.StatusInternalServerError, refusal{"internal", "the request failed; the log says why"}
	if httpError, ok := err.(*echo.HTTPError); ok { //nolint:errorlint // echo passes its own type
		status = httpError.Code
		if stated, ok := httpError.Message.(refusal); ok {
			answer = stated
		} else {
			answer = refusal{"http_" + http.StatusText(status), http.StatusText(status)}
		}
		if status == http.StatusNotFound {
			answer.Code = "not_found"
		}
	} else {
		d.Log.Error().Err(err).Msg("a request of the admin address failed")
	}
	if writeErr := c.JSON(status, map[string]refusal{"error": answer}); writeErr != nil {
		d.Log.Debug().Err(writeErr).Msg("an answer was not taken")
	}
}

// ref reads the contact that a path names.
func (d *dashboard) ref(c echo.Context) (contact.Ref, error) {
	id, err := contact.ParseID(c.Param("id"))
	if err != nil {
		return contact.Ref{}, refuse(http.StatusBadRequest, "invalid_contact_id", err.Error())
	}
	return contact.Ref{Site: d.Site, ID: id}, nil
}

// unavailable answers for a Redis that is away.
func (d *dashboard) unavailable(c echo.Context, err error) error {
	d.Log.Warn().Err(err).Msg("a request of the admin address failed")
	c.Response().Header().Set(echo.HeaderRetryAfter, "5")
	return refuse(http.StatusServiceUnavailable, "unavailable", "Redis does not answer; try again")
}
