package pulse

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"spillway/internal/contact"
)

// ErrNotFound reports that the CRM has no such contact. It is a
// [contact.Refusal].
var ErrNotFound error = refusal{code: "contact_not_found", text: "the CRM has no such contact"}

var errInvalidID error = refusal{code: "invalid_contact_id", text: contact.ErrInvalidID.Error()}

type refusal struct{ code, text string }

var _ contact.Refusal = refusal{}

func (r refusal) Error() string   { return r.text }
func (r refusal) Refusal() string { return r.code }

// Unavailable reports that the CRM is away, busy, or does not let us in. It is a
// [contact.Outage].
type Unavailable struct {
	Attempt    string        // what was attempted, such as "reading contact 123"
	Status     int           // the CRM's answer, 0 without one
	RetryAfter time.Duration // how long to stay away, 0 when that is not known
	Reason     string        // cause and remedy
	Err        error         // the end of the context, if that was the cause

	called bool // a call was made and got no answer
	slow   bool // in its time
}

var _ contact.Held = (*Unavailable)(nil)

func (e *Unavailable) Error() string { return e.Attempt + ": " + e.Reason }

// Unwrap returns the context's error, if there was one.
func (e *Unavailable) Unwrap() error { return e.Err }

// Outage returns RetryAfter.
func (e *Unavailable) Outage() time.Duration { return e.RetryAfter }

// Held reports whether the CRM is well and answered 429.
func (e *Unavailable) Held() bool { return e.Status == http.StatusTooManyRequests }

// Rejected reports an answer that concerns this call alone: a status of 400 and
// more that is no outage, or content that cannot be what was asked for.
type Rejected struct {
	Attempt string
	Status  int
	Reason  string // of our own words; the CRM's may hold a contact's data
	Other   string // the contact whose record was answered, if not the one that was asked for
}

func (e *Rejected) Error() string {
	return fmt.Sprintf("%s: the CRM answered with status %d: %s", e.Attempt, e.Status, e.Reason)
}

// AnsweredAs returns Other.
func (e *Rejected) AnsweredAs() string { return e.Other }

// noAnswer describes a call that got no answer. The errors of net/http quote
// URLs and what the other side sent, so the cause is put in our own words.
func noAnswer(ctx context.Context, attempt string, err error, timeout time.Duration) *Unavailable {
	e := &Unavailable{Attempt: attempt, Err: ctx.Err(), called: true}
	var (
		dns      *net.DNSError
		op       *net.OpError
		errno    syscall.Errno
		record   tls.RecordHeaderError
		verify   *tls.CertificateVerificationError
		hostname x509.HostnameError
		timedOut interface{ Timeout() bool }
	)
	switch {
	case e.Err != nil:
		e.Reason = "the call was given up: " + e.Err.Error()
	case errors.As(err, &timedOut) && timedOut.Timeout():
		e.Reason, e.slow = fmt.Sprintf("no answer within %v", timeout), true
	case errors.As(err, &dns):
		e.Reason = "the host's address was not found; check the URL's host"
	case errors.As(err, &hostname):
		e.Reason = "the certificate is for another host; check the URL's host"
	case errors.As(err, &verify):
		e.Reason = "the certificate is not trusted; check the URL and this machine's clock; an authority of your own belongs into SPILLWAY_CA"
	case errors.As(err, &record):
		e.Reason = "the other side does not speak TLS; check the URL's scheme and port"
	case errors.As(err, &errno):
		e.Reason = "the connection failed: " + errno.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.Reason = "the connection was closed before the answer was whole"
	case errors.As(err, &op):
		e.Reason = "the connection failed at: " + op.Op
	default:
		e.Reason = "the connection failed"
	}
	return e
}
