package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"spillway/internal/contact"
	"spillway/internal/observe"
	"spillway/internal/pending/history"
	"spillway/internal/webhook"
)

// outcome is what became of a request.
type outcome struct {
	site      *site        // that the key belongs to; nil: none
	unknown   string       // what the metrics call its site then
	hook      webhook.Hook // if it was accepted
	coalesced bool
	refusal   *webhook.Error // or why it was not
	wait      time.Duration  // how long to stay away, with 429

	hold   *hold         // its sender waits; nil: not
	end    string        // how the wait ended; empty: there was none
	waited time.Duration // until then
	event  history.Event // how the pass ended, if the sender waited for that
}

// siteName is the site's; empty: no accepted key told it.
func (o outcome) siteName() string {
	if o.site == nil {
		return ""
	}
	return o.site.Name
}

func (o outcome) status() int {
	switch {
	case o.refusal != nil:
		return o.refusal.Status
	case o.end == endParked:
		return http.StatusUnprocessableEntity
	default:
		return http.StatusOK
	}
}

// result is the outcome's name in the metrics and in the log.
func (o outcome) result() string {
	switch {
	case o.refusal != nil:
		return o.refusal.Code
	case o.hook.Test:
		return "test"
	case o.coalesced:
		return "coalesced"
	default:
		return "accepted"
	}
}

// action is the name of what an accepted webhook asks for. What a refused one
// asks for is anyone's text.
func (o outcome) action() string {
	switch {
	case o.hook.Test:
		return "test"
	case o.hook.ID != "":
		return o.hook.Intent.Action.String()
	default:
		return "none"
	}
}

// take answers a webhook. It never returns an error: a caller that reads no
// answer is not told of it either.
func (s *Server) take(c echo.Context) error {
	began := time.Now()
	id := requestID(c.Request())
	c.Response().Header()[requestIDHeader] = []string{id}
	r, span := s.startSpan(c.Request())
	o := s.record(r, id, c)
	if !drained(r) {
		c.Response().Header().Set("Connection", "close")
	}
	s.await(c.Response(), r, &o)
	err := write(c, o, time.Since(began))
	took := time.Since(began)
	endSpan(span, o, id)

	s.metrics.observe(o, took-o.waited)
	if o.refusal != nil && s.refusals != nil {
		s.refusals.Count(o.siteName(), o.refusal.Code)
	}
	if line := s.log.Debug(); line.Enabled() {
		// No path and no query: both can hold a key, the one by mistake.
		line.Err(cause(err)).Int("status", o.status()).Str("outcome", o.result()).Dur("took_ms", took).Str("request_id", id)
		if o.site != nil {
			line.Str("site", o.site.Name)
		}
		if o.hook.ID != "" {
			line.Stringer("contact", contact.Ref{Site: o.hook.Site, ID: o.hook.ID}).Stringer("action", o.hook.Intent.Action)
		}
		if o.end != "" {
			line.Str("wait", o.end).Dur("waited_ms", o.waited)
		}
		line.Msg("webhook answered")
	}
	return nil
}

// record checks a request and submits what it asks for.
func (s *Server) record(r *http.Request, id string, client interface{ RealIP() string }) (o outcome) {
	defer func() {
		if reason := recover(); reason != nil {
			// The reason may quote the request.
			s.log.Error().Str("type", fmt.Sprintf("%T", reason)).Str("at", panicked()).Msg("taking a webhook panicked")
			o = outcome{refusal: internal(), site: o.site, unknown: o.unknown}
		}
	}()
	sites := s.sites.Load()
	hook, err := webhook.Parse(r, sites.keys)
	o.site, o.unknown = sites.of[hook.Site], sites.unknown
	if err != nil {
		o.refusal = refused(err)
		if o.refusal.Status == http.StatusForbidden {
			o = s.failedKey(o, client.RealIP())
		}
		return o
	}
	o.hook = hook
	if hook.Test {
		return o
	}
	receipt := contact.Receipt{Action: hook.Intent.Action, RequestID: id, Trace: observe.Traceparent(r.Context())}
	o.coalesced, o.hold, err = s.submit(s.submitContext(), o.site, hook, receipt)
	if err != nil {
		s.complaints.Error().Err(cause(err)).Msg("webhooks are refused: they cannot be recorded in Redis")
		o.hook = webhook.Hook{}
		o.refusal = &webhook.Error{
			Status: http.StatusServiceUnavailable, Code: "unavailable",
			Message: "The webhook was not recorded: the queue does not answer. Send it again.",
		}
	}
	return o
}

// maxDrained is how much of a body that nobody needs is read, in bytes: as much
// as PHP takes unless told otherwise.
const maxDrained = 8 << 20

// drained reads what is left of a body, since many senders read no answer before
// they have sent everything. It is not told of one that is larger than that:
// its sender's connection ends with the answer.
func drained(r *http.Request) bool {
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		return true
	case r.ContentLength > maxDrained:
		return false
	}
	_, err := io.CopyN(io.Discard, r.Body, maxDrained+1)
	return errors.Is(err, io.EOF)
}

// submitContext returns a context that ends submitTimeout from now, or up to
// submitStep earlier: webhooks of the same moment share it and its timer. It is
// not the request's: senders that do not wait for the answer hang up at once,
// and what they sent counts all the same.
func (s *Server) submitContext() context.Context {
	if shared := s.submitting.Load(); shared != nil {
		if end, _ := (*shared).Deadline(); time.Until(end) >= submitTimeout-submitStep {
			return *shared
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), submitTimeout)
	context.AfterFunc(ctx, cancel)
	s.submitting.Store(&ctx)
	return ctx
}

// failedKey counts a wrong key against its sender, who is refused in another
// way after too many. Right keys were accepted before this: nobody can be
// locked out by somebody who guesses from the same address.
func (s *Server) failedKey(o outcome, client string) outcome {
	if wait := s.failures.count(client); wait > 0 {
		o.wait, o.refusal = wait, &webhook.Error{
			Status: http.StatusTooManyRequests, Code: "too_many_failures",
			Message: "Too many requests with a missing or wrong access key came from this address.",
		}
	}
	return o
}

// refused is the refusal that an error of package webhook is.
func refused(err error) *webhook.Error {
	var refusal *webhook.Error
	if !errors.As(err, &refusal) {
		refusal = internal()
	}
	return refusal
}

func internal() *webhook.Error {
	return &webhook.Error{
		Status: http.StatusInternalServerError, Code: "internal",
		Message: "The webhook was not recorded: Spillway failed. Its log says where.",
	}
}

// cause returns the innermost error, without the contact and the addresses that
// the outer ones name. It may be nil.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// panicked returns the function and line that panicked, when called by a
// deferred function.
func panicked() string {
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	thrown := false
	for {
		frame, more := frames.Next()
		inRuntime := strings.HasPrefix(frame.Function, "runtime.")
		if thrown && !inRuntime {
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
		thrown = thrown || inRuntime
		if !more {
			return "unknown"
		}
	}
}
