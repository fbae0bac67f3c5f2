package contact

import (
	"errors"
	"time"
)

// Outage is an error of a system that is away or busy: unreachable, 5xx, 429,
// or out of budget. Work that meets one waits and loses no attempt.
type Outage interface {
	error
	// Outage returns how long to stay away, zero when the system did not say.
	Outage() time.Duration
}

// Held is an outage of a system that is well and has asked all callers to wait,
// by a 429 or by its limit. It says nothing of the contact that met it: the
// contact keeps its place and counts no failure.
type Held interface {
	Outage
	// Held reports whether this is such an outage.
	Held() bool
}

// Refusal is an error that no retry mends: the data, not the moment, is bad.
type Refusal interface {
	error
	// Refusal returns the code that the operator sees, such as "no_email".
	Refusal() string
}

// Suspicion is a [Refusal] that may have been an accident: a connection that
// broke says nothing of what was sent through it. It counts as a refusal when it
// has repeated itself.
type Suspicion interface {
	Refusal
	// Confirmed returns how many failed attempts make it a refusal.
	Confirmed() int
}

// ErrSuperseded says that the site has stored a newer pass of the contact. The
// contact waits as in an outage: its next pass has a higher number.
var ErrSuperseded = errors.New("the site has a newer pass of the contact")

// Absent says that the CRM has no such contact, and is asked once more before
// that counts. The contact waits as in an outage.
type Absent struct {
	ContactID string
	Again     time.Duration // when to ask
}

func (e *Absent) Error() string {
	return "the CRM has no contact " + e.ContactID + "; it is asked again in " + e.Again.Round(time.Second).String() + " before the user's tags are cleared"
}

// Busy says that the site works on the contact already, or believes so, and did
// nothing of what it was asked for. The contact waits as in an outage and is asked
// for again then, or the site would show what was before its last edit.
type Busy struct {
	ContactID string
	Again     time.Duration // when to ask
}

func (e *Busy) Error() string {
	return "the site did nothing: it takes another request for contact " + e.ContactID + " to be under way; it is asked again in " + e.Again.Round(time.Second).String()
}

// Postponed is an error of one contact that a repetition cannot mend for a while.
type Postponed interface {
	error
	// Postponed returns how long.
	Postponed() time.Duration
}

// AsOutage finds an [Outage] in err's chain.
func AsOutage(err error) (Outage, bool) {
	var outage Outage
	ok := errors.As(err, &outage)
	return outage, ok
}

// IsHeld says whether there is a [Held] in err's chain that is one.
func IsHeld(err error) bool {
	var held Held
	return errors.As(err, &held) && held.Held()
}

// AsRefusal finds a [Refusal] in err's chain.
func AsRefusal(err error) (Refusal, bool) {
	var refusal Refusal
	ok := errors.As(err, &refusal)
	return refusal, ok
}
