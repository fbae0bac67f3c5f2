package site

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"spillway/internal/contact"
)

// Unavailable reports that the site is away or busy, or takes nothing from
// Spillway as things are. It is a [contact.Outage].
type Unavailable struct {
	Reason string
	After  time.Duration // how long the site asked to be left alone; zero: it did not
	cause  error         // the end of a context
	code   string        // empty: an outage like others
}

// Code returns the connector's code for what is in the way, empty if it has
// none.
func (e *Unavailable) Code() string { return e.code }

func (e *Unavailable) Error() string {
	if e.After > 0 {
		return fmt.Sprintf("the site is unavailable for %s: %s", e.After.Round(time.Second), e.Reason)
	}
	return "the site is unavailable: " + e.Reason
}

// Outage returns how long the site asked to be left alone.
func (e *Unavailable) Outage() time.Duration { return e.After }

func (e *Unavailable) Unwrap() error { return e.cause }

// Refused reports a contact that the site will not take however often it is
// sent. It is a [contact.Refusal].
type Refused struct {
	ContactID string
	Code      string // the connector's, or "site_fatal" or "site_rejected"
	Message   string
}

func (e *Refused) Error() string {
	return fmt.Sprintf("the site refuses contact %s (%s): %s", e.ContactID, e.Code, e.Message)
}

// Refusal returns the code.
func (e *Refused) Refusal() string { return e.Code }

// fatalTimes is how often the site must die of a contact that stands alone
// before that is no accident, such as a PHP process that was replaced.
const fatalTimes = 3

// Confirmed makes site_fatal a [contact.Suspicion]: the site died, or the
// connection broke, while this contact alone was under way.
func (e *Refused) Confirmed() int {
	if e.Code == codeFatal {
		return fatalTimes
	}
	return 1
}

const codeFatal = "site_fatal"

// Failed reports a contact that the site could not store this time.
type Failed struct {
	ContactID string
	Code      string // the connector's, or "site_timeout"
	Message   string
}

func (e *Failed) Error() string {
	return fmt.Sprintf("the site failed to store contact %s (%s): %s", e.ContactID, e.Code, e.Message)
}

// Unwrap tells a newer pass that was stored from other failures.
func (e *Failed) Unwrap() error {
	if e.Code == codeSuperseded {
		return contact.ErrSuperseded
	}
	return nil
}

// codeSuperseded is the connector's code for a change that is older than what
// it has stored of the contact.
const codeSuperseded = "superseded"

const (
	// codeRefused is also the code of a request that something has ended.
	codeRefused = "refused"
	// codeNoLocks concerns all contacts: the site's database has no named locks.
	codeNoLocks = "no_locks"
	noLocks     = "its database refuses named locks (GET_LOCK), so nothing can be stored; " +
		"on Percona XtraDB Cluster set pxc_strict_mode to PERMISSIVE, behind ProxySQL switch multiplexing off"
)

// errClosed answers calls during or after [Client.Close].
var errClosed = &Unavailable{Reason: "Spillway is stopping; the contact is tried again later"}

func notSent(ctx context.Context, id string) error {
	return &Unavailable{Reason: "contact " + id + " was still in line when its pass had to end; it was not sent", cause: ctx.Err()}
}

func notAwaited(ctx context.Context, id string) error {
	return &Unavailable{Reason: "no answer for contact " + id + " by the time its pass had to end; it is sent again", cause: ctx.Err()}
}

// failureKind says what the failure of a whole request tells.
type failureKind int

const (
	fatal      failureKind = iota + 1 // the site died on it
	slow                              // no answer in time
	forbidden                         // refused: the account is, or a contact in the request
	redirected                        // sent elsewhere: the site is, or by a plugin
	rejected                          // refused by a site that is well
)

// wholeFailure reports a request that failed as a whole, perhaps because of one
// contact in it.
type wholeFailure struct {
	kind failureKind
	what string // begins with "the request", such as "the request ended in status 500"
	why  string // what in the site did it; empty: it did not say
	busy bool   // by 502 or 504, which a web server answers whose PHP is busy
}

func (e *wholeFailure) Error() string { return e.what }

var codeLike = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)

// shortestValue keeps a value such as "1" from making holes into a message.
const shortestValue = 3

// personal returns the values of a contact that would tell who it is.
func personal(change contact.Change) []string {
	values := []string{change.Email, change.UserLogin, change.UserPass}
	for _, value := range change.Fields {
		switch v := value.(type) {
		case string:
			values = append(values, v)
		case []string:
			values = append(values, v...)
		}
	}
	return slices.DeleteFunc(values, func(v string) bool { return len(v) < shortestValue })
}

// without takes a contact's values out of a message. The connector puts none
// in, but a plugin that changes its answers might.
func without(message string, values []string) string {
	for _, value := range values {
		message = strings.ReplaceAll(message, value, "(value)")
	}
	return message
}

// plainCode returns the site's code, or a fallback if it is not a code.
func plainCode(code, fallback string) string {
	if codeLike.MatchString(code) {
		return code
	}
	return fallback
}
