// Package site is the client of the connector plugin in a WordPress site. It
// gathers contacts that come at about the same time into one request, because
// starting WordPress costs the site several times more than storing a contact.
//
// # What it guarantees
//
// [Client.Store] returns no result unless the site answered for that contact
// that it is committed. Two changes of one contact reach the site in the order
// in which they were given to one client. One contact that the site cannot
// digest fails alone: a request that dies as a whole is halved until the
// contact that kills it stands alone.
//
// # The way of a contact
//
// Store puts the contact in line and waits. One goroutine, the dispatcher,
// decides when the next batch is due (see [linger]), waits for a slot, cuts
// the batch from the line's front and sends it. What arrives meanwhile gathers
// in line. So a lone contact goes at once, and a burst goes in full batches.
//
// # Errors
//
// A site that is away, busy, or refuses Spillway as a whole gives a
// [contact.Outage]; a contact that the site will never take gives a
// [contact.Refusal]; every other error concerns one contact and may pass.
// No error holds an e-mail address, a password, or a URL with a path.
//
// # Limits
//
// A request that was sent may have been carried out although its answer got
// lost; the protocol makes repetitions harmless. The order of changes holds
// within one client; over several, callers must run one pass per contact at a
// time.
package site

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"spillway/internal/contact"
	"spillway/internal/web"
)

// Slots bounds the requests in flight over all replicas. A slot is held for one
// batch, the halving of it included.
type Slots interface {
	Acquire(ctx context.Context) (release func(), err error)
}

// Breaker learns how requests went, and refuses them while the site is away.
type Breaker interface {
	// Allow returns nil, or an outage while no request may be sent.
	Allow(ctx context.Context) error
	// Succeeded reports a request that the site answered.
	Succeeded(ctx context.Context)
	// Failed reports a request that met an outage. weight is how many failures
	// it counts as, asked how long the site wants to be left alone.
	Failed(ctx context.Context, weight int, asked time.Duration, reason string)
}

// Guard decides how hard the site is pressed.
type Guard interface {
	// Batch returns how many contacts the next request may hold.
	Batch() int
	// Sending reports that a request leaves. One of the following follows it.
	Sending(ctx context.Context)
	// Unsent reports that it did not, or that this client gave it up.
	Unsent(ctx context.Context)
	// Answered reports a request that the site answered after took, having
	// worked on its contacts for worked of that (zero: unknown). It returns how
	// long the request's slot is to rest.
	Answered(ctx context.Context, contacts int, took, worked time.Duration) (pause time.Duration)
	// Refused reports one that met a busy site, no connection or no answer in
	// time.
	Refused(ctx context.Context, took time.Duration) (pause time.Duration)
}

// Options say where the site is and how hard it may be pressed.
type Options struct {
	// URL is the site's address; a WordPress in a folder has the folder in it. A
	// user and a password in it are for the Basic authentication of the web
	// server, as staging sites have it.
	URL         string
	User        string
	AppPassword string
	// Batch is how many contacts a request holds at most, 1 to 100. Zero: 50.
	Batch int
	// Slots bounds the requests at once. Nil: one at a time for this client.
	Slots Slots
	// Breaker keeps requests from a site that is away. Nil: none does.
	Breaker Breaker
	// Guard decides how hard the site is pressed. Nil: batches shrink when
	// requests get slow, and no slot rests.
	Guard Guard
	// RolesAllowed and DefaultRole go with every request.
	RolesAllowed []string
	DefaultRole  string
	// LoginFormat goes along, too: what the login of a new user is made of whose
	// contact has none. Empty: the e-mail address.
	LoginFormat string
	// Observing asks the site what storing would do, in the place of storing.
	Observing bool
	// Timeout ends a request: the connector works for at most 10 s, the rest
	// is for the line and for the wait for a PHP worker. Zero: 25 s.
	Timeout time.Duration
	// UnderWay returns how many passes of this process may still bring a
	// contact, those in line included: when all of them have, none is waited
	// for. Nil: not known.
	UnderWay func() int
	// Roots verify the site's certificate; nil: the system's do.
	Roots *x509.CertPool
	// HTTP sends the requests. Its CheckRedirect is not used. Nil: a client
	// of its own that gives up connecting after 5 s.
	HTTP *http.Client
	// Observe is told about every request that stores contacts. It is called
	// from several goroutines.
	Observe func(Request)
}

// Request is what [Options.Observe] learns.
type Request struct {
	Contacts int
	Took     time.Duration
	// Outcome is "answered"; "failed", the request as a whole, which gets
	// halved; or "outage".
	Outcome string
	Err     error // nil if answered; fit for a log
}

// Client stores contacts on one site. It is safe for concurrent use.
type Client struct {
	options Options
	base    *url.URL
	server  *url.Userinfo // for the web server's own Basic authentication; nil: it asks for none
	asQuery atomic.Bool   // how WordPress's routes are addressed, see [Client.address]
	http    *http.Client
	slots   Slots
	line    *line
	guard   Guard
	pace    *pace

	wake    chan struct{} // the dispatcher is to look at the line again
	closing chan struct{} // nothing new is accepted
	done    chan struct{} // the dispatcher has ended
	abort   func()        // cuts off what is under way
	closed  sync.Once
	blamed  atomic.Int64 // contacts blamed for a request's failure since the site last answered one
}

const (
	defaultBatch   = 50
	largestBatch   = 100 // the connector refuses more
	defaultTimeout = 25 * time.Second
	// longestLinger is how long a contact waits for company at most.
	longestLinger = time.Second
)

// New returns a client whose dispatcher runs until [Client.Close]. It sends
// nothing yet.
func New(options Options) (*Client, error) {
	base, server, err := web.ParseURL(options.URL)
	if err != nil {
		return nil, err
	}
	if options.User == "" || options.AppPassword == "" {
		return nil, errors.New("the site's user and application password are needed: set SPILLWAY_SITE_USER and SPILLWAY_SITE_APP_PASSWORD")
	}
	if options.Batch < 0 || options.Batch > largestBatch {
		return nil, fmt.Errorf("SPILLWAY_SITE_BATCH %d: use 1 to %d", options.Batch, largestBatch)
	}
	options.Batch = orDefault(options.Batch, defaultBatch)
	options.Timeout = orDefault(options.Timeout, defaultTimeout)
	if options.UnderWay == nil {
		options.UnderWay = func() int { return 0 }
	}
	if options.Slots == nil {
		options.Slots = make(oneAtATime, 1)
	}
	if options.Guard == nil {
		options.Guard = newBatchSize(options.Batch)
	}
	if options.Breaker == nil {
		options.Breaker = noBreaker{}
	}
	if options.RolesAllowed == nil {
		options.RolesAllowed = []string{} // null is no list
	}
	c := &Client{
		options: options,
		base:    base,
		server:  server,
		http:    web.Client(options.HTTP, options.Roots),
		slots:   options.Slots,
		line:    newLine(),
		guard:   options.Guard,
		pace:    newPace(),
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	ctx, abort := context.WithCancel(context.Background())
	c.abort = abort
	go c.dispatch(ctx)
	return c, nil
}

func orDefault[T int | time.Duration](value, fallback T) T {
	if value == 0 {
		return fallback
	}
	return value
}

// Store stores one contact, in a batch with others, and returns the site's
// answer for it. When ctx ends while the contact is in line it is not sent.
// When ctx ends later the site may or may not store it.
func (c *Client) Store(ctx context.Context, change contact.Change) (contact.Result, error) {
	encoded, err := json.Marshal(change)
	if err != nil {
		// The encoder's error may repeat a value.
		return contact.Result{}, fmt.Errorf("storing contact %s: its fields cannot be written as JSON", change.ContactID)
	}
	if ctx.Err() != nil {
		return contact.Result{}, notSent(ctx, change.ContactID)
	}
	ctx, span := startSpan(ctx, "site store")
	defer span.End()
	w := &waiter{
		id: change.ContactID, encoded: encoded, values: personal(change), arrived: time.Now(),
		answer: make(chan answer, 1), span: span,
	}
	w.until, _ = ctx.Deadline()
	if !c.line.join(w) {
		return contact.Result{}, errClosed
	}
	c.look()
	select {
	case a := <-w.answer:
		return a.result, a.err
	case <-ctx.Done():
		if c.line.leave(w) {
			c.look()
			return contact.Result{}, notSent(ctx, w.id)
		}
		select {
		case a := <-w.answer: // it came at the same moment
			return a.result, a.err
		default:
			return contact.Result{}, notAwaited(ctx, w.id)
		}
	}
}

// Close accepts no more contacts and returns when those in line are answered.
// When ctx ends first, what is under way is cut off with an outage.
func (c *Client) Close(ctx context.Context) error {
	c.closed.Do(func() {
		close(c.closing)
		c.line.close()
		c.look()
	})
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		c.abort()
		<-c.done
		return fmt.Errorf("closing the site's client: contacts under way were cut off and will be tried again: %w", ctx.Err())
	}
}

// look makes the dispatcher look at the line again.
func (c *Client) look() {
	select {
	case c.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// noBreaker lets everything through.
type noBreaker struct{}

// Allow returns nil.
func (noBreaker) Allow(context.Context) error { return nil }

// Succeeded does nothing.
func (noBreaker) Succeeded(context.Context) {}

// Failed does nothing.
func (noBreaker) Failed(context.Context, int, time.Duration, string) {}

// oneAtATime is the slot of a client that shares the site with no other.
type oneAtATime chan struct{}

// Acquire waits for the slot.
func (s oneAtATime) Acquire(ctx context.Context) (release func(), err error) {
	select {
	case s <- struct{}{}:
		return sync.OnceFunc(func() { <-s }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
