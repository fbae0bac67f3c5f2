package sandbox

import (
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// CRMOptions say how the stand-in CRM behaves.
type CRMOptions struct {
	// Latency is what each call takes. The data is read and changed at half of it.
	Latency time.Duration
	// Token is accepted as it is, for ever. Without Token and OAuth every call is.
	Token string
	// OAuth gives out tokens at POST /oauth/token. Nil: the route does not exist.
	OAuth *OAuthOptions
	// TagPageSize is the length of a page of any list; 0 stands for 15.
	TagPageSize int
	// RatePerSecond is how many calls are answered; others get 429 with
	// Retry-After. 0: no limit.
	RatePerSecond float64
}

const defaultPageSize = 15

// crmRoutes are the names of the CRM's routes in counts and faults.
var crmRoutes = []string{
	"contact", "tags", "update", "find", "tagged", "all_tags", "fields", "tag_apply", "untag", "token",
}

// CRM is a stand-in for PulseTechnologyCRM. It may be used by many goroutines.
type CRM struct {
	options CRMOptions
	latency atomic.Int64
	records *records
	oauth   *oauth // nil without OAuth
	limit   rateLimit
	faults  *faults
	mux     *http.ServeMux

	mu    sync.Mutex
	stats CRMStats
	under map[string]int // reads under way, by route and contact
}

// CRMStats counts what the CRM was asked.
type CRMStats struct {
	Calls      map[string]int64 `json:"calls"`       // by route
	Total      int64            `json:"total"`       // over all routes
	Refreshes  int64            `json:"refreshes"`   // of OAuth tokens, successful ones
	WrongToken int64            `json:"wrong_token"` // answered 401
	Limited    int64            `json:"limited"`     // answered 429
	Spoilt     int64            `json:"spoilt"`      // met a fault
	InFlight   int64            `json:"in_flight"`   // calls under way now
	AtOnce     int64            `json:"at_once"`     // the most that were under way together
	// Overlaps counts the reads of a contact, or of its tags, that began while
	// the same was already being read: two passes over one contact at a time. A
	// read whose caller gives up ends with it.
	Overlaps int64 `json:"overlaps"`
}

// NewCRM returns a CRM without contacts.
func NewCRM(options CRMOptions) *CRM {
	if options.TagPageSize <= 0 {
		options.TagPageSize = defaultPageSize
	}
	crm := &CRM{
		options: options,
		records: newRecords(),
		limit:   rateLimit{perSecond: options.RatePerSecond},
		faults:  newFaults(crmRoutes...),
		mux:     http.NewServeMux(),
		stats:   CRMStats{Calls: map[string]int64{}},
		under:   map[string]int{},
	}
	crm.latency.Store(int64(options.Latency))
	crm.serveAPI()
	if options.OAuth != nil {
		crm.oauth = newOAuth(*options.OAuth)
		crm.mux.HandleFunc("POST /oauth/token", crm.token)
	}
	crm.serveControl()
	return crm
}

// ServeHTTP answers the API, the token route and the control routes.
func (c *CRM) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.mux.ServeHTTP(w, r) }

// Close ends the answers that a fault lets hang.
func (c *CRM) Close() { c.faults.close() }

// SetLatency changes what each call takes.
func (c *CRM) SetLatency(d time.Duration) { c.latency.Store(int64(d)) }

// Fail spoils calls. The error says what is wrong with the fault.
func (c *CRM) Fail(fault Fault) error { return c.faults.add(fault) }

// FailNext answers the next n calls with a status.
func (c *CRM) FailNext(n, status int) error { return c.Fail(Fault{Count: n, Status: status}) }

// ClearFaults takes all faults back.
func (c *CRM) ClearFaults() { c.faults.clear() }

// Stats returns the counts so far.
func (c *CRM) Stats() CRMStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.stats
	stats.Calls = maps.Clone(c.stats.Calls)
	stats.Spoilt = c.faults.count()
	return stats
}

// count changes the counts.
func (c *CRM) count(change func(stats *CRMStats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

// call serves one route of the API. Calls of a route that reads a contact are
// watched for overlaps.
func (c *CRM) call(route string, watched bool, act func(r *http.Request, body []byte) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(w, r)
		if err != nil {
			a := apiError(http.StatusRequestEntityTooLarge, http.StatusText(http.StatusRequestEntityTooLarge))
			a.write(w, len(a.body))
			return
		}
		c.count(func(stats *CRMStats) { stats.Calls[route]++; stats.Total++ })
		key := ""
		if watched {
			key = route + " " + r.PathValue("id")
		}
		c.faults.perform(w, r, route, func() answer { return c.answer(r, key, body, act) },
			func(status int) answer { return apiError(status, http.StatusText(status)) })
	}
}

// answer takes the time that a call takes. It is over before the answer leaves:
// a caller that has the answer may call again at once.
func (c *CRM) answer(r *http.Request, key string, body []byte, act func(r *http.Request, body []byte) answer) answer {
	defer c.begin(key)()
	if refusal, refused := c.refuse(r); refused {
		return refusal
	}
	half := c.latencyNow() / 2
	if !sleep(r, half) {
		return apiError(http.StatusServiceUnavailable, "Server Error")
	}
	a := act(r, body)
	sleep(r, half)
	return a
}

// refuse turns away calls without a valid token, and those over the limit.
func (c *CRM) refuse(r *http.Request) (answer, bool) {
	if !c.authorized(r) {
		c.count(func(stats *CRMStats) { stats.WrongToken++ })
		return reply(http.StatusUnauthorized, map[string]string{"message": "Unauthenticated.", "error": "Unauthenticated."}), true
	}
	if wait := c.limit.take(time.Now()); wait > 0 {
		c.count(func(stats *CRMStats) { stats.Limited++ })
		after := strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
		return apiError(http.StatusTooManyRequests, "Too Many Attempts.").with("Retry-After", after), true
	}
	return answer{}, false
}

func (c *CRM) authorized(r *http.Request) bool {
	if c.options.Token == "" && c.oauth == nil {
		return true
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return false
	}
	return token == c.options.Token || c.oauth != nil && c.oauth.valid(token, time.Now())
}

// begin counts a call as under way until the returned function is called. key
// names what the call reads; empty if nothing is watched.
func (c *CRM) begin(key string) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.InFlight++
	c.stats.AtOnce = max(c.stats.AtOnce, c.stats.InFlight)
	if key != "" {
		if c.under[key]++; c.under[key] > 1 {
			c.stats.Overlaps++
		}
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stats.InFlight--
		if key == "" {
			return
		}
		if c.under[key]--; c.under[key] == 0 {
			delete(c.under, key)
		}
	}
}

// sleep reports false when the caller has given up.
func sleep(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// rateLimit lets through calls at a rate, and a second's worth at once.
type rateLimit struct {
	perSecond float64

	mu     sync.Mutex
	tokens float64
	last   time.Time
}

// take returns zero for a call that may be made, else how long it must wait.
func (l *rateLimit) take(now time.Time) time.Duration {
	if l.perSecond <= 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	full := max(l.perSecond, 1)
	if l.last.IsZero() {
		l.tokens = full
	} else {
		l.tokens = min(full, l.tokens+now.Sub(l.last).Seconds()*l.perSecond)
	}
	l.last = now
	if l.tokens >= 1 {
		l.tokens--
		return 0
	}
	return time.Duration((1 - l.tokens) / l.perSecond * float64(time.Second))
}

func (c *CRM) latencyNow() time.Duration { return time.Duration(c.latency.Load()) }
