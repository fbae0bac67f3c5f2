// Package admin is the admin address: health, metrics, the API that shows
// and moves contacts, pages for people, and asynq's own monitor.
//
// Health and metrics are open. Everything else asks for the password of the
// user admin, if one is set: a person signs in on a page and gets a session, a
// program sends HTTP Basic with each request. Wrong passwords are limited by
// the client's address and over all clients. Without a password the address
// must be a loopback one, and only requests for a loopback host name are
// served, so that no page in the operator's browser can reach the API through a
// host name of its own. Requests that change something are refused when they
// come from another origin.
//
// The pages work without JavaScript. With it they update themselves: one loop
// per process reads what is being looked at once a second, renders it, and
// sends what changed to every open page.
package admin

import (
	"context"
	"html/template"
	"net/http"
	"slices"
	"time"

	"github.com/hibiken/asynqmon"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"spillway/internal/admin/roster"
	"spillway/internal/contact"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
	"spillway/internal/sites/gone"
	"spillway/internal/throttle"
)

// Systems tells how the CRM and the site fare.
type Systems interface {
	Read(ctx context.Context) ([]throttle.Status, error)
}

// Addresses finds the contacts that have an e-mail address.
type Addresses interface {
	Find(ctx context.Context, site, address string) (ids []string, err error)
}

// Gone knows the sites that have no settings any more.
type Gone interface {
	Names(ctx context.Context) ([]string, error)
	List(ctx context.Context) ([]gone.Site, error)
	Drop(ctx context.Context, name string) (keys int, err error)
}

// Options are what the admin address is made of.
type Options struct {
	Contacts  *pending.Contacts
	Timelines *history.Timelines
	// Systems may be nil: then nothing is said of the CRM and the site.
	Systems Systems
	// Addresses may be nil: contacts are then found by id only.
	Addresses Addresses
	// Creations tell of the creation limit, and let a person decide.
	Creations Creations
	// Connector takes connection codes; nil: there is no way to set a site up here.
	Connector Connector
	// Gone are the sites that have no settings any more; nil: there are none.
	Gone Gone
	// Redis is the connection of asynq's monitor, of sessions, and of what
	// replicas leave there.
	Redis redis.UniversalClient
	// Password of the user admin; empty: no authentication, loopback only.
	Password string
	// SitePassword is that of the user who has the site's name; empty: there is no
	// such user. It counts only beside a Password.
	SitePassword string
	// Health answers /healthz, /readyz and /metrics.
	Health http.Handler
	// Site is the name of the site whose contacts are shown.
	Site string
	// Mode is how contacts get to the site, if that is worth showing.
	Mode string
	// CRMURL and SiteURL are what links to the CRM's record and to the
	// WordPress user begin with; empty: there are no links.
	CRMURL, SiteURL string
	// Settings are those of this process, secrets masked.
	Settings []roster.Setting
	// MonitorWritable lets asynq's monitor change tasks.
	MonitorWritable bool
	Log             zerolog.Logger

	several bool // sites, so that addresses name this one
}

// User is the name that goes with the password.
const User = "admin"

// callTimeout bounds the work of one request.
const callTimeout = 20 * time.Second

// Dashboard is the admin address.
type Dashboard struct {
	Options

	all        []Options // the sites that may be shown here
	handler    http.Handler
	pages      map[string]*template.Template
	roster     *roster.Roster
	keeper     *history.Keeper // read only: how full Redis is
	sessions   *sessions
	attempts   *attempts
	live       *live
	retired    chan struct{} // closed once another takes its place
	pace       *pace
	complaints zerolog.Logger // as Log, but a line in some seconds
}

// New returns the admin address. Its pages update themselves while
// [Dashboard.Run] runs.
func New(options Options) *Dashboard {
	d := &Dashboard{
		Options: options, all: []Options{options}, roster: roster.New(options.Redis), keeper: history.NewKeeper(options.Redis),
		sessions: &sessions{rdb: options.Redis, passwords: []string{options.Password}},
		attempts: newAttempts(time.Now), live: newLive(), retired: make(chan struct{}), pace: &pace{},
	}
	if d.shownSite() != "" {
		d.Log = d.Log.With().Str("site", d.Site).Logger()
	}
	d.complaints = d.Log.Sample(&zerolog.BurstSampler{Burst: 1, Period: 10 * time.Second})
	if options.SitePassword != "" {
		d.sessions.passwords = append(d.sessions.passwords, options.SitePassword)
	}
	d.pages = parsePages(d.at)
	d.handler = d.routes()
	return d
}

func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.handler.ServeHTTP(w, headAsGet(r))
}

func (d *Dashboard) routes() http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = d.answerError
	e.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{
		DisableStackAll: true,
		LogErrorFunc: func(_ echo.Context, err error, stack []byte) error {
			d.Log.Error().Err(err).Bytes("stack", stack).Msg("a request of the admin address panicked")
			return err
		},
	}), middleware.BodyLimit("64K"), middleware.ContextTimeoutWithConfig(middleware.ContextTimeoutConfig{
		Timeout: callTimeout,
		Skipper: func(c echo.Context) bool { return c.Path() == eventsPath }, // streams last
	}))

	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		e.GET(path, echo.WrapHandler(d.Health))
	}
	open := e.Group("", d.sameOrigin, pageHeaders)
	open.GET("/assets/:name", d.asset)
	open.GET("/login", d.loginPage)
	open.POST("/login", d.login)

	guarded := e.Group("", d.sameOrigin, pageHeaders, d.authenticate, d.knownSite)
	guarded.POST("/logout", d.logout)
	guarded.RouteNotFound("/*", d.noRoute)
	api := guarded.Group("/api/v1")
	api.RouteNotFound("/*", d.noRoute)
	api.GET("/sites", d.listSites)
	api.GET("/openapi.json", func(c echo.Context) error { return c.JSONBlob(http.StatusOK, openAPI) })
	if d.whole() {
		d.wholeRoutes(guarded, api)
	}
	if d.Contacts == nil {
		guarded.GET("/", d.sitesPage)
		return e
	}
	guarded.GET("/", d.nowPage)
	guarded.GET("/parked", d.parkedPage)
	guarded.GET("/comparison", d.comparisonPage)
	guarded.GET("/observations", d.observationsPage)
	guarded.GET("/contacts/:id", d.contactPage)
	guarded.GET(eventsPath, d.events)
	guarded.POST("/contacts/find", d.findContact)
	guarded.POST("/contacts/:id/sync", d.syncForm)
	guarded.POST("/parked/retry", d.retryAllForm)
	guarded.POST("/parked/:id/retry", d.retryForm)
	guarded.POST("/parked/:id/drop", d.dropForm)
	guarded.POST("/creations/allow", d.allowCreationsForm)
	guarded.POST("/creations/drop", d.dropCreationsForm)
	guarded.POST("/pause", d.pauseForm)
	guarded.POST("/resume", d.resumeForm)

	api.GET("/stats", d.stats)
	api.GET("/series", d.series)
	api.GET("/refusals", d.listRefusals)
	api.GET("/reconcile", d.lastComparison)
	api.GET("/observations", d.showObservations)
	api.POST("/pause", d.pause)
	api.POST("/resume", d.resume)
	api.GET("/parked", d.listParked)
	api.POST("/parked/retry", d.retryParked)
	api.DELETE("/parked/:id", d.dropParked)
	api.GET("/creations", d.showCreations)
	api.POST("/creations/allow", d.allowCreations)
	api.GET("/contacts/:id", d.contact)
	api.POST("/contacts/:id/sync", d.syncContact)
	return e
}

// wholeRoutes are about the whole installation: who has the password of one site
// of several does not get there.
func (d *Dashboard) wholeRoutes(guarded, api *echo.Group) {
	guarded.GET("/sites", d.sitesPage)
	guarded.POST("/sites/:name/drop", d.dropSiteForm)
	api.POST("/sites/:name/drop", d.dropSiteCall)
	guarded.GET("/replicas", d.replicasPage)
	guarded.GET("/connect", d.connectPage)
	guarded.POST("/connect", d.connectForm)
	api.GET("/replicas", d.listReplicas)
	monitor := echo.WrapHandler(asynqmon.New(asynqmon.Options{
		RootPath: "/monitor", RedisConnOpt: connection{d.Redis},
		// Deleting tasks there would only delay contacts: the records are what
		// counts, and the sweep makes their tasks anew.
		ReadOnly: !d.MonitorWritable,
	}))
	guarded.Any("/monitor", monitor, monitorHeaders)
	guarded.Any("/monitor/*", monitor, monitorHeaders)
}

// connection lends a client to asynqmon.
type connection struct{ client redis.UniversalClient }

func (c connection) MakeRedisClient() any { return c.client }

// ref reads the contact that a path names.
func (d *Dashboard) ref(c echo.Context) (contact.Ref, error) {
	id, err := contact.ParseID(c.Param("id"))
	if err != nil {
		return contact.Ref{}, refuse(http.StatusBadRequest, "invalid_contact_id", err.Error())
	}
	return contact.Ref{Site: d.Site, ID: id}, nil
}

// systems returns nothing when nobody knows. A relay never calls the CRM.
func (d *Dashboard) systems(ctx context.Context) ([]throttle.Status, error) {
	if d.Systems == nil {
		return nil, nil
	}
	all, err := d.Systems.Read(ctx)
	if d.Mode == "relay" {
		all = slices.DeleteFunc(all, func(s throttle.Status) bool { return s.System == throttle.CRM })
	}
	return all, err
}
