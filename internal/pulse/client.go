// Package pulse is the client of PulseTechnologyCRM's API, access tokens
// included.
//
// Guarantees: a list is returned whole or not at all, so that a truncated page
// never takes a contact's tags away. Whether an error is an outage or concerns
// one contact alone is decided here: [*Unavailable] is an outage, which costs a
// contact nothing but time; [ErrNotFound] is for good; [*Rejected] is a failure
// that counts. No error shows a token, a contact's data or a query.
//
// Limits: calls are not repeated, except those that met an expired token or a
// 429 that leaves them time; the caller decides when to try others again. The
// API has no public reference; what is known of it comes from the integration
// "pulsetech" in the public repository verygoodplugins/wp-fusion-lite. So
// answers are read leniently: ids as numbers or texts, missing paging
// information, unknown and null members.
package pulse

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"spillway/internal/web"
)

const (
	defaultConcurrency = 16
	defaultTimeout     = 10 * time.Second
)

// Options say which CRM to call, and how hard.
type Options struct {
	// URL is the account's application URL, such as
	// https://app.example.thepulsespot.com (SPILLWAY_CRM_URL).
	URL string
	// Tokens gives the access token: [Fixed] or [*OAuth].
	Tokens Tokens
	// Budget is asked before each call. Nil: calls are not counted.
	Budget Budget
	// Breaker keeps calls from a CRM that is away. Nil: every call is made.
	Breaker Breaker
	// Concurrency is the number of calls at once of this client; 0 stands for 16.
	Concurrency int
	// Timeout bounds one call, its answer included; 0 stands for 10 seconds.
	// Waiting for a turn is bounded by the caller's context alone.
	Timeout time.Duration
	// Roots verify the CRM's certificate; nil: the system's do.
	Roots *x509.CertPool
	// HTTP is used instead of a client of our own. Its redirect policy is not.
	HTTP *http.Client
	// Observe is told of every call, by the goroutine that made it. Nil: nobody is.
	Observe func(Call)
}

// Budget bounds the calls per second.
type Budget interface {
	// Wait returns when a call may be made. Its errors are outages.
	Wait(ctx context.Context) error
	// Limited reports that the CRM answered 429 and asked for a pause, zero if
	// it did not say how long.
	Limited(ctx context.Context, retryAfter time.Duration)
}

// Breaker learns how calls went, and refuses them while the CRM is away.
type Breaker interface {
	// Allow returns nil, or an outage while no call may be made.
	Allow(ctx context.Context) error
	// Succeeded reports a call that the CRM answered, whatever it answered.
	Succeeded(ctx context.Context)
	// Failed reports a call that met an outage. weight is how many failures it
	// counts as, asked how long the CRM wants to be left alone.
	Failed(ctx context.Context, weight int, asked time.Duration, reason string)
}

// Call is one HTTP exchange, for metrics.
type Call struct {
	Route    string        // "contact", "tags", "update", "tagged", "fields", "all_tags", "tag_apply", "untag", "token"
	Status   int           // 0 when there was no answer
	Duration time.Duration // without the time spent waiting for a turn
}

// Client calls the CRM. It may be used by many goroutines.
type Client struct {
	base    string // ends with /api/v1/
	tokens  Tokens
	budget  Budget
	breaker Breaker
	slots   chan struct{}
	waiting atomic.Int64 // calls that wait for one of the slots
	timeout time.Duration
	http    *http.Client
	observe func(Call)
}

// New returns a client of the CRM; it makes no call.
func New(o Options) (*Client, error) {
	base, err := apiBase(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Tokens == nil {
		return nil, errors.New("the CRM's client has no access token: set SPILLWAY_CRM_TOKEN, or SPILLWAY_CRM_CLIENT_ID and the other OAuth settings")
	}
	if o.Concurrency < 0 || o.Timeout < 0 {
		return nil, fmt.Errorf("the CRM's client cannot make %d calls at once within %v each: use positive numbers", o.Concurrency, o.Timeout)
	}
	if o.Concurrency == 0 {
		o.Concurrency = defaultConcurrency
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Observe == nil {
		o.Observe = func(Call) {}
	}
	return &Client{
		base: base, tokens: o.Tokens, budget: o.Budget, breaker: o.Breaker, slots: make(chan struct{}, o.Concurrency),
		timeout: o.Timeout, http: withoutRedirects(o.HTTP, o.Concurrency, o.Roots), observe: o.Observe,
	}, nil
}

// apiBase checks SPILLWAY_CRM_URL. Its errors quote no more than the scheme,
// since a wrong URL may hold a password.
func apiBase(address string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	switch {
	case err != nil:
		return "", errors.New("SPILLWAY_CRM_URL is no URL: write https://HOST")
	case u.Scheme != "https" && u.Scheme != "http":
		return "", fmt.Errorf("SPILLWAY_CRM_URL: unknown scheme %q, use https://", u.Scheme)
	case u.Host == "":
		return "", errors.New("SPILLWAY_CRM_URL has no host: write https://HOST")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("SPILLWAY_CRM_URL has more than a host and a path: write https://HOST; the access token belongs into SPILLWAY_CRM_TOKEN")
	}
	return strings.TrimSuffix(strings.TrimRight(u.String(), "/"), "/api/v1") + "/api/v1/", nil
}

// withoutRedirects returns a client that hands redirects back: following one
// would carry the access token to wherever it points.
func withoutRedirects(given *http.Client, connections int, roots *x509.CertPool) *http.Client {
	client := &http.Client{}
	if given != nil {
		*client = *given
	} else if transport, ok := http.DefaultTransport.(*http.Transport); ok {
		transport = transport.Clone()
		transport.MaxIdleConnsPerHost = connections
		web.Secure(transport, roots)
		client.Transport = transport
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client
}
