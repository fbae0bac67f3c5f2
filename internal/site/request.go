package site

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"spillway/internal/contact"
	"spillway/internal/web"
)

// body is a request of the connector's protocol.
type body struct {
	RolesAllowed []string          `json:"roles_allowed"`
	DefaultRole  string            `json:"default_role"`
	LoginFormat  string            `json:"login_format,omitempty"`
	Contacts     []json.RawMessage `json:"contacts"`
}

// reply is the connector's answer for one contact.
type reply struct {
	contact.Result
	contact.Observation // empty, unless it was asked for

	ContactID string `json:"contact_id"`
	Error     struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		Permanent bool   `json:"permanent"`
	} `json:"error"`
}

const (
	outcomeFailed   contact.Outcome = "failed"
	outcomeDeferred contact.Outcome = "deferred"
)

// read turns the answer into what the caller of Store gets. Its error shows
// none of the contact's values.
func (r reply) read(values []string, observing bool) (contact.Result, error) {
	switch r.Outcome {
	case contact.Created, contact.Updated, contact.Unchanged, contact.Skipped:
		if observing {
			r.Observed = &r.Observation
		}
		return r.Result, nil
	case outcomeFailed:
		code, message := plainCode(r.Error.Code, "site_failed"), web.Plain(without(r.Error.Message, values))
		if r.Error.Permanent {
			return contact.Result{}, &Refused{ContactID: r.ContactID, Code: code, Message: message}
		}
		return contact.Result{}, &Failed{ContactID: r.ContactID, Code: code, Message: message}
	default:
		return contact.Result{}, &Failed{
			ContactID: r.ContactID, Code: "unknown_outcome", Message: "the connector's answer has an outcome that Spillway does not know; are both of the same version?",
		}
	}
}

// send sends one request with a batch and takes note of how it went. The error
// is an outage or a *wholeFailure.
func (c *Client) send(ctx context.Context, f *flight, batch []*waiter) ([]reply, error) {
	spanCtx, span := startRequestSpan(ctx, batch)
	began := time.Now()
	replies, worked, err := c.post(spanCtx, batch)
	took := time.Since(began)

	request := Request{Contacts: len(batch), Took: took, Outcome: "answered", Err: err}
	defer func() { endRequestSpan(span, request) }()
	var failure *wholeFailure
	switch {
	case err == nil:
		c.blamed.Store(0)
		c.pace.answered(stored(replies))
		c.options.Breaker.Succeeded(ctx)
		f.pause += c.guard.Answered(ctx, len(batch), took, worked)
	case errors.As(err, &failure):
		request.Outcome = "failed"
		if failure.kind == slow || failure.busy || took > slowRequest {
			f.pause += c.guard.Refused(ctx, took)
		} else {
			f.pause += c.guard.Answered(ctx, len(batch), took, 0)
		}
	default:
		request.Outcome = "outage"
		if ctx.Err() != nil { // the client gave up, not the site
			c.guard.Unsent(ctx)
			break
		}
		f.pause += c.guard.Refused(ctx, took)
		_ = c.away(ctx, 1, err)
	}
	if c.options.Observe != nil {
		c.options.Observe(request)
	}
	return replies, err
}

// stored counts the contacts that the site reached.
func stored(replies []reply) int {
	n := 0
	for _, r := range replies {
		if r.Outcome != outcomeDeferred {
			n++
		}
	}
	return n
}

// post sends a batch. worked is how long the connector says that it worked.
func (c *Client) post(ctx context.Context, batch []*waiter) (replies []reply, worked time.Duration, err error) {
	contacts := make([]json.RawMessage, len(batch))
	for i, w := range batch {
		contacts[i] = w.encoded
	}
	encoded, err := json.Marshal(body{c.options.RolesAllowed, c.options.DefaultRole, c.options.LoginFormat, contacts})
	if err != nil { // each part was written before
		return nil, 0, fmt.Errorf("writing a request of %d contacts: %w", len(batch), err)
	}
	route := contactsRoute
	if c.options.Observing {
		route = observationsRoute
	}
	a, err := c.ask(ctx, http.MethodPost, route, nil, encoded)
	if err != nil {
		return nil, 0, err
	}
	if code, _, ok := a.code(); ok && c.options.Observing && code == "rest_no_route" {
		return nil, 0, &Unavailable{Reason: "its connector plugin is too old to observe: write the current one with `spillway plugin` and upload it under Plugins » Add New"}
	}
	switch a.status {
	case http.StatusOK:
		var read struct {
			Results []reply `json:"results"`
			Elapsed float64 `json:"elapsed_ms"`
		}
		if json.Unmarshal(a.body, &read) != nil || read.Results == nil {
			return nil, 0, &wholeFailure{kind: fatal, what: "the request was answered with something else than results"}
		}
		if slices.ContainsFunc(read.Results, func(r reply) bool { return r.Error.Code == codeNoLocks }) {
			return nil, 0, &Unavailable{Reason: noLocks, code: codeNoLocks}
		}
		worked = time.Duration(min(max(read.Elapsed, 0), largestElapsed) * float64(time.Millisecond))
		return read.Results, worked, nil
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return nil, 0, &wholeFailure{
			kind: fatal, what: fmt.Sprintf("the request ended in status %d", a.status), why: a.ended(), busy: a.status != http.StatusInternalServerError,
		}
	case http.StatusUnauthorized, http.StatusForbidden:
		// A firewall may object to what one contact holds. If the account is
		// refused, so is the status route.
		return nil, 0, &wholeFailure{kind: forbidden, what: fmt.Sprintf("the request was refused with status %d", a.status)}
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return nil, 0, a.outage()
	}
	if a.status >= 300 && a.status < 400 {
		return nil, 0, a.redirectedPost()
	}
	if a.status >= 400 && a.status < 500 {
		return nil, 0, &wholeFailure{kind: rejected, what: fmt.Sprintf("the request was rejected with status %d", a.status)}
	}
	return nil, 0, a.outage()
}

// largestElapsed bounds what is believed, in milliseconds.
const largestElapsed = 60_000

// Status is what the connector tells about the site.
type Status struct {
	Plugin       string            `json:"plugin"`
	Protocol     int               `json:"protocol"`
	WordPress    string            `json:"wordpress"`
	PHP          string            `json:"php"`
	WPFusion     string            `json:"wp_fusion"` // empty: not active
	Roles        map[string]string `json:"roles"`     // slug to title
	DefaultRole  string            `json:"default_role"`
	Multisite    bool              `json:"multisite"`
	ContactIDKey string            `json:"contact_id_key"`
	TagsKey      string            `json:"tags_key"`
	Limits       struct {
		Contacts int `json:"contacts"`
		Seconds  int `json:"seconds"`
	} `json:"limits"`
	// Fields says of the keys that were asked about what the site knows them
	// as; see PROTOCOL.md. Nil: the connector is too old to tell.
	Fields map[string]string `json:"fields"`
	// Rights are those of Spillway's user: whether it has the connector's own
	// capability, and what it can do on the site besides.
	Rights struct {
		Own    bool     `json:"own"`
		Beyond []string `json:"beyond"`
	} `json:"rights"`
	// Locks and Transactions say what the site's database gives. Nil: the
	// connector is too old to tell.
	Locks        *bool `json:"locks"`
	Transactions *bool `json:"transactions"`
}

// statusTimeout ends the question for the status: the route does next to
// nothing.
const statusTimeout = 10 * time.Second

// Status asks the site for its status, and what it knows of WordPress keys. It
// needs no slot. Every error is a [contact.Outage].
func (c *Client) Status(ctx context.Context, keys ...string) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	query := uncached()
	if len(keys) > 0 {
		query.Set("fields", strings.Join(keys, ","))
	}
	a, err := c.ask(ctx, http.MethodGet, statusRoute, query, nil)
	var failure *wholeFailure
	switch {
	case errors.As(err, &failure):
		return Status{}, &Unavailable{Reason: "asked for its status, " + failure.what}
	case err != nil:
		return Status{}, err
	case a.status != http.StatusOK:
		return Status{}, a.outage()
	}
	var status Status
	if json.Unmarshal(a.body, &status) != nil || status.Protocol == 0 {
		if e := a.hindrance(); e != nil {
			return Status{}, e
		}
		return Status{}, a.hinders("no_rest", web.Words(a.body))
	}
	return status, nil
}

// uncached makes an address that no cache has an answer for.
func uncached() url.Values {
	return url.Values{"nocache": {strconv.FormatInt(time.Now().UnixNano(), 36)}}
}
