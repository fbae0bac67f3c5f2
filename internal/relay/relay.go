// Package relay is the other way to a site: it calls WP Fusion's own endpoint,
// as the CRM's webhooks did, one contact at a time. It needs nothing on the site
// that was not there, and nothing of the CRM.
//
// # What it guarantees
//
// A contact is done only if WP Fusion says so. WP Fusion answers nearly
// everything with status 200; the pages that begin with "Success" and are none
// are told from those that are. What stays unknown, such as a request that got no
// answer, is asked again after WP Fusion's own lock on the contact has ended, so
// that the last edit wins.
//
// Requests take turns over all replicas, a slot for each; they are paced by the
// site's guard and held back by its breaker. A request is sent only if its pass
// has time left for the whole of it. The access key goes to the host of
// SPILLWAY_SITE_URL alone: no redirect is followed.
//
// # Errors
//
// A site that is away or refuses Spillway gives a [contact.Outage], and so does
// an endpoint that turns out to be Spillway's own. A contact that WP Fusion will
// never take gives a [contact.Refusal]; one that it was busy with a
// [contact.Postponed]. Every other error concerns one contact and may pass. No
// error holds the access key, an address with a path, or an e-mail address.
//
// # Limits
//
// It knows what WP Fusion's pages say. When the CRM refuses WP Fusion, WP Fusion
// may store that a user has no tags and answer Success: after an update_tags
// nothing shows it. What a user's password is, and whether the CRM got it, WP
// Fusion does not say.
package relay

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spillway/internal/contact"
	"spillway/internal/web"
)

// Slots bounds the requests in flight over all replicas.
type Slots interface {
	Acquire(ctx context.Context) (release func(), err error)
}

// Breaker learns how requests went, and refuses them while the site is away.
type Breaker interface {
	// Allow returns nil, or an outage while no request may be sent.
	Allow(ctx context.Context) error
	// Succeeded reports a request that WP Fusion answered.
	Succeeded(ctx context.Context)
	// Failed reports a request that met an outage. weight is how many failures
	// it counts as, asked how long the site wants to be left alone.
	Failed(ctx context.Context, weight int, asked time.Duration, reason string)
}

// Guard decides how long a slot rests between requests.
type Guard interface {
	// Sending reports that a request leaves. One of the following follows it.
	Sending(ctx context.Context)
	// Unsent reports that it did not.
	Unsent(ctx context.Context)
	// Answered reports one that the site answered. worked is not known here.
	Answered(ctx context.Context, contacts int, took, worked time.Duration) (pause time.Duration)
	// Refused reports one that met a busy site, no connection or no answer in
	// time.
	Refused(ctx context.Context, took time.Duration) (pause time.Duration)
}

// Options say where the site is and how hard it may be pressed.
type Options struct {
	// URL is the site's address; a WordPress in a folder has the folder in it. A
	// user and a password in it are for the web server's Basic authentication.
	URL string
	// AccessKey is WP Fusion's.
	AccessKey string
	// RolesAllowed are those that a webhook may give, by slug.
	RolesAllowed []string
	// Concurrency is how many requests Slots allows.
	Concurrency int
	Slots       Slots
	Breaker     Breaker
	Guard       Guard
	// Timeout ends a request. Zero: 30 s, since WP Fusion waits for the CRM for
	// up to 15 s with each of its calls.
	Timeout time.Duration
	// Lock is how long WP Fusion keeps its lock on a contact. Zero: what WP Fusion
	// says, a minute, and a little more.
	Lock time.Duration
	// Roots verify the site's certificate; nil: the system's do.
	Roots *x509.CertPool
	// HTTP sends the requests. Its CheckRedirect is not used. Nil: a client of
	// its own.
	HTTP *http.Client
	// Observe is told about every request for a contact. It is called from
	// several goroutines.
	Observe func(Request)
}

// Request is what [Options.Observe] learns.
type Request struct {
	Took time.Duration
	// Outcome is "answered" by WP Fusion, whatever it said; "failed", if the
	// site died of it; or "outage".
	Outcome string
}

// defaultTimeout leaves a pass time to wait for its turn.
const defaultTimeout = 30 * time.Second

// Client calls the endpoint of one site. It is safe for concurrent use.
type Client struct {
	options Options
	base    *url.URL
	server  *url.Userinfo // for the web server's own Basic authentication; nil: it asks for none
	proof   string
	http    *http.Client

	inRow   atomic.Int64 // contacts that failed since one did not
	resting sync.WaitGroup
	closing chan struct{}
	closed  sync.Once
}

// New returns a client. It sends nothing yet.
func New(options Options) (*Client, error) {
	base, server, err := web.ParseURL(options.URL)
	if err != nil {
		return nil, err
	}
	if options.AccessKey == "" {
		return nil, errors.New("WP Fusion's access key is needed: set SPILLWAY_ACCESS_KEYS, and put WP Fusion's own key first")
	}
	if options.Timeout == 0 {
		options.Timeout = defaultTimeout
	}
	if options.Lock == 0 {
		options.Lock = usualLock
	}
	return &Client{
		options: options, base: base, server: server, proof: Proof(options.AccessKey),
		http: web.Client(options.HTTP, options.Roots), closing: make(chan struct{}),
	}, nil
}

// Store has WP Fusion do what a change asks for: its Action, ContactID, Role and
// Notify count. The result says what WP Fusion said.
func (c *Client) Store(ctx context.Context, change contact.Change) (contact.Result, error) {
	if err := c.options.Breaker.Allow(ctx); err != nil {
		return contact.Result{}, err
	}
	release, err := c.turn(ctx, change.ContactID)
	if err != nil {
		return contact.Result{}, err
	}
	query, notes := c.query(change)
	c.options.Guard.Sending(ctx)
	// It asks Redis, which may take its time.
	if !c.hasTime(ctx) {
		c.options.Guard.Unsent(ctx)
		release()
		return contact.Result{}, &noTime{change.ContactID}
	}
	began := time.Now()
	result, err := c.ask(ctx, query, change)
	took := time.Since(began)
	c.rest(c.note(ctx, took, err), release)
	result.Notes = append(notes, result.Notes...)
	return result, err
}

// turn waits for a slot as long as the request would still have its time after
// that.
func (c *Client) turn(ctx context.Context, id string) (release func(), err error) {
	waiting := ctx
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		waiting, cancel = context.WithDeadline(ctx, end.Add(-c.options.Timeout))
		defer cancel()
	}
	release, err = c.options.Slots.Acquire(waiting)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return nil, &noTime{id}
	}
	return release, err
}

// hasTime says whether a pass has time for a whole request. A process that was
// frozen wakes with its timers due but not yet fired, so the clock is looked at.
func (c *Client) hasTime(ctx context.Context) bool {
	const slack = time.Second // what turn left is spent in part
	end, ok := ctx.Deadline()
	return ctx.Err() == nil && (!ok || time.Until(end) > c.options.Timeout-slack)
}

// query writes the parameters of WP Fusion's endpoint.
func (c *Client) query(change contact.Change) (query url.Values, notes []string) {
	query = url.Values{"wpf_action": {change.Action}, "access_key": {c.options.AccessKey}, "contact_id": {change.ContactID}}
	if change.Role != "" && change.Action != contact.UpdateTags.String() {
		if role, ok := c.role(change.Role); ok {
			query.Set("role", role)
		} else {
			notes = append(notes, "role_not_allowed")
		}
	}
	if change.Notify && change.Action == contact.Add.String() {
		query.Set("send_notification", "true")
	}
	return query, notes
}

// role returns the allowed role that is meant: a slug, or a title, which differs
// from it in case and in what stands between words. WP Fusion itself would give
// any role, and an existing user even that of an administrator.
func (c *Client) role(asked string) (slug string, ok bool) {
	plain := func(role string) string {
		return strings.ToLower(strings.NewReplacer(" ", "", "_", "", "-", "").Replace(role))
	}
	at := slices.IndexFunc(c.options.RolesAllowed, func(role string) bool { return plain(role) == plain(asked) })
	if at < 0 {
		return "", false
	}
	return c.options.RolesAllowed[at], true
}

// note tells guard, breaker and observer how a request went, and returns how long
// its slot is to rest.
func (c *Client) note(ctx context.Context, took time.Duration, err error) (pause time.Duration) {
	request := Request{Took: took, Outcome: "answered"}
	outage, away := contact.AsOutage(err)
	var died *died
	switch {
	case away && ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled): // given up by us
		request.Outcome = "outage"
		c.options.Guard.Unsent(ctx)
	case away:
		request.Outcome = "outage"
		weight, asked := 1, outage.Outage()
		var unknown *unknown
		if errors.As(err, &unknown) { // it asked for nothing; the contact has to wait
			weight, asked = slowWeight, 0
		}
		c.options.Breaker.Failed(ctx, weight, asked, err.Error())
		pause = c.options.Guard.Refused(ctx, took)
	default:
		if errors.As(err, &died) {
			request.Outcome = "failed"
		}
		c.options.Breaker.Succeeded(ctx)
		pause = c.options.Guard.Answered(ctx, 1, took, 0)
	}
	if c.options.Observe != nil {
		c.options.Observe(request)
	}
	return pause
}

// slowWeight is how many failures a request counts as that got no answer in time,
// where others fail at once.
const slowWeight = 2

// rest keeps the slot for as long as the site must be left alone, while the pass
// goes on.
func (c *Client) rest(pause time.Duration, release func()) {
	select {
	case <-c.closing:
		pause = 0
	default:
	}
	if pause <= 0 {
		release()
		return
	}
	c.resting.Go(func() {
		defer release()
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.closing:
		}
	})
}

// Close gives back slots that rest. No request is sent after it.
func (c *Client) Close(context.Context) error {
	c.closed.Do(func() { close(c.closing) })
	c.resting.Wait()
	return nil
}

// Pace tells the gate that no more passes need be under way than requests, and
// as many again that are ready to follow them.
func (c *Client) Pace() (perSecond float64, batch int) { return 0, c.options.Concurrency }

// Ended does nothing: no request waits for others.
func (c *Client) Ended() {}
