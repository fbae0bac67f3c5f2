package sandbox

import (
	"crypto/rand"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// SiteOptions say how the stand-in site behaves. For a duration, zero stands for
// the default and a negative one for none.
type SiteOptions struct {
	// Workers is how many requests are worked on at once; 0 stands for 6.
	Workers int
	// StartCost is what any request costs a worker before its work (50 ms).
	StartCost time.Duration
	// ContactCost is what one contact costs (8 ms).
	ContactCost time.Duration
	// PageCost is what a page costs a worker, in all (100 ms).
	PageCost time.Duration
	// Budget is how long a request may work before it defers contacts (10 s).
	Budget time.Duration
	// User and AppPassword let Spillway in. Empty ones: "spillway", and a random
	// password, see [Site.Credentials].
	User, AppPassword string
	// PluginVersion and Protocol are what the connector says of itself; empty
	// and 0 stand for 0.3.0 and 2.
	PluginVersion string
	Protocol      int
}

// What real PHP workers need, measured with WordPress 6.1 on 2 cores.
const (
	defaultWorkers     = 6
	defaultStartCost   = 50 * time.Millisecond
	defaultContactCost = 8 * time.Millisecond
	defaultPageCost    = 100 * time.Millisecond
	defaultBudget      = 10 * time.Second
)

// siteRoutes are the names of the site's routes in counts and faults.
var siteRoutes = []string{"contacts", "observations", "status", "connect", "page"}

// Site is a stand-in for a WordPress site with the connector plugin. It may be
// used by many goroutines.
type Site struct {
	options SiteOptions
	users   *users
	weak    account
	workers chan struct{} // holds a token for each request that is worked on
	costs   struct{ start, contact atomic.Int64 }
	faults  *faults
	mux     *http.ServeMux

	mu       sync.Mutex
	url      string
	stats    SiteStats
	poisoned map[string]bool
	code     *connectionCode // nil: none is good
	exchange []string        // application passwords made for codes
}

// account is a user name and an application password.
type account struct{ user, password string }

// SiteStats counts what the site was asked.
type SiteStats struct {
	Requests   int64 `json:"requests"` // of contacts
	Contacts   int64 `json:"contacts"` // in those requests
	Largest    int64 `json:"largest"`  // the most contacts in one request
	Stored     int64 `json:"stored"`   // answered created or updated
	Deferred   int64 `json:"deferred"`
	Killed     int64 `json:"killed"`     // requests that a poisoned contact ended
	Superseded int64 `json:"superseded"` // contacts of an older pass than the stored one
	Refused    int64 `json:"refused"`    // answered 401 or 403
	BadBody    int64 `json:"bad_body"`   // answered 400
	Pages      int64 `json:"pages"`
	Users      int64 `json:"users"`
	Mails      int64 `json:"mails"`
	Spoilt     int64 `json:"spoilt"`  // requests that met a fault
	Late       int64 `json:"late"`    // requests under way that are to take effect after they are given up
	Waiting    int64 `json:"waiting"` // requests that wait for a worker now
	Working    int64 `json:"working"` // requests that have one now
	InLine     int64 `json:"in_line"` // the most requests that waited at once
}

// NewSite returns a site without users, the two accounts of the API aside.
func NewSite(options SiteOptions) *Site {
	if options.Workers <= 0 {
		options.Workers = defaultWorkers
	}
	options.StartCost = duration(options.StartCost, defaultStartCost)
	options.ContactCost = duration(options.ContactCost, defaultContactCost)
	options.PageCost = duration(options.PageCost, defaultPageCost)
	options.Budget = duration(options.Budget, defaultBudget)
	if options.User == "" {
		options.User = "spillway"
	}
	if options.PluginVersion == "" {
		options.PluginVersion = "0.3.0"
	}
	if options.Protocol == 0 {
		options.Protocol = 2
	}
	if options.AppPassword == "" {
		options.AppPassword = rand.Text()[:24]
	}
	site := &Site{
		options:  options,
		users:    newUsers(),
		weak:     account{user: options.User + "-subscriber", password: rand.Text()[:24]},
		workers:  make(chan struct{}, options.Workers),
		faults:   newFaults(siteRoutes...),
		mux:      http.NewServeMux(),
		poisoned: map[string]bool{},
	}
	site.SetCosts(options.StartCost, options.ContactCost)
	site.mux.HandleFunc("/wp-json/spillway/v1/contacts", site.request("contacts", "", uncached(site.contacts)))
	site.mux.HandleFunc("/wp-json/spillway/v1/observations", site.request("observations", http.MethodPost, uncached(site.observe)))
	site.mux.HandleFunc("/wp-json/spillway/v1/status", site.request("status", http.MethodGet, uncached(site.status)))
	site.mux.HandleFunc("/wp-json/spillway/v1/connect", site.request("connect", http.MethodPost, uncached(site.connect)))
	site.mux.HandleFunc("/wp-json/", site.request("page", "", noRoute))
	site.mux.HandleFunc("/", site.request("page", "", site.page))
	site.serveControl()
	return site
}

func duration(d, standard time.Duration) time.Duration {
	if d == 0 {
		return standard
	}
	return max(d, 0)
}

// ServeHTTP answers the connector's routes, pages and the control routes.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Close ends the answers that a fault lets hang.
func (s *Site) Close() { s.faults.close() }

// SetCosts changes what a request and what a contact in it costs a worker.
func (s *Site) SetCosts(start, contact time.Duration) {
	s.costs.start.Store(int64(start))
	s.costs.contact.Store(int64(contact))
}

// Stats returns the counts so far.
func (s *Site) Stats() SiteStats {
	s.mu.Lock()
	stats := s.stats
	s.mu.Unlock()
	stats.Spoilt, stats.Late = s.faults.count(), s.faults.late.Load()
	stats.Users, stats.Mails = s.users.counts()
	return stats
}

// count changes the counts.
func (s *Site) count(change func(stats *SiteStats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.stats)
}

// request serves a route with a worker. A method other than the route's gets
// what WordPress answers for a route that it does not know.
func (s *Site) request(route, method string, act func(r *http.Request, body []byte) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(w, r)
		if err != nil {
			a := s.failure(http.StatusRequestEntityTooLarge)
			a.write(w, len(a.body))
			return
		}
		s.faults.perform(w, r, route, func() answer {
			defer s.work()()
			if method != "" && r.Method != method {
				return noRoute(r, body)
			}
			return act(r, body)
		}, s.failure)
	}
}

// uncached makes the answers of one of the connector's routes.
func uncached(act func(r *http.Request, body []byte) answer) func(r *http.Request, body []byte) answer {
	return func(r *http.Request, body []byte) answer {
		return act(r, body).with("Cache-Control", "no-store, private, max-age=0")
	}
}

// work waits in line for a worker and pays for its start. PHP goes on with
// requests whose caller has given up, so nothing here ends early. The result
// lets the worker go.
func (s *Site) work() (done func()) {
	s.count(func(stats *SiteStats) {
		stats.Waiting++
		stats.InLine = max(stats.InLine, stats.Waiting)
	})
	s.workers <- struct{}{}
	s.count(func(stats *SiteStats) { stats.Waiting--; stats.Working++ })
	time.Sleep(time.Duration(s.costs.start.Load()))
	return func() {
		s.count(func(stats *SiteStats) { stats.Working-- })
		<-s.workers
	}
}

// page is any page that a visitor sees.
func (s *Site) page(r *http.Request, _ []byte) answer {
	if rest := s.options.PageCost - time.Duration(s.costs.start.Load()); rest > 0 {
		time.Sleep(rest)
	}
	s.count(func(stats *SiteStats) { stats.Pages++ })
	if r.URL.Path != "/" {
		return page(http.StatusNotFound, "<!doctype html><title>Page not found</title><h1>Page not found</h1>")
	}
	return page(http.StatusOK, "<!doctype html><title>Sandbox</title><h1>Sandbox</h1><p>This page costs a PHP worker as long as any other.")
}

func noRoute(*http.Request, []byte) answer {
	return restError(http.StatusNotFound, "rest_no_route", "No route was found matching the URL and request method.")
}

func restError(status int, code, message string) answer {
	return reply(status, map[string]any{"code": code, "message": message, "data": map[string]int{"status": status}})
}

// failure is what a visitor gets when PHP or the server before it fails.
func (s *Site) failure(status int) answer {
	if status == http.StatusInternalServerError {
		return criticalError()
	}
	text := http.StatusText(status)
	return page(status, "<html><head><title>"+text+"</title></head><body><h1>"+text+"</h1></body></html>")
}

func criticalError() answer {
	return page(http.StatusInternalServerError, "<!DOCTYPE html><html><head><title>WordPress &rsaquo; Error</title></head>"+
		`<body id="error-page"><div class="wp-die-message"><p>There has been a critical error on this website.</p></div></body></html>`)
}
