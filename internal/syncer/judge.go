package syncer

import (
	"context"
	"errors"
	"math"
	"time"

	"spillway/internal/contact"
)

// Verdict is what a failed pass means for its contact.
type Verdict int

const (
	// Wait: the CRM, the site or Redis is away or busy. The contact is tried
	// again and loses no attempt.
	Wait Verdict = iota
	// Yield: the CRM is well and asked all callers to wait. The contact goes back
	// to where it was, as if the pass had not begun.
	Yield
	// TryAgain: this contact failed, and a repetition may succeed. It uses up
	// an attempt.
	TryAgain
	// Park: trying again is useless until the contact or the site changes.
	Park
)

// MaxAttempts is how many counted failures park a contact. With the back-off
// of [Judgement.Delay] the last one comes about 15 minutes after the first.
const MaxAttempts = 9

// Judgement is a verdict with what the operator is told.
type Judgement struct {
	Verdict Verdict
	Code    string        // such as "no_email" or "outage"
	After   time.Duration // how long the system asked to be left alone; zero: it did not
}

// The codes that [Judge] gives by itself.
const (
	CodeOutage    = "outage"
	CodeHeld      = "held"
	CodeOutOfTime = "out_of_time"
	// CodeSuperseded waits: Redis's clock went back, or the claim is lost.
	CodeSuperseded = "superseded"
	// CodeNoLocks is an outage with a name: the site's database can't do what
	// the connector needs, and only a person can change that.
	CodeNoLocks = "no_locks"
	// CodeCircle is an outage with a name, too: what answers at the site's address
	// is Spillway itself.
	CodeCircle = "relay_circle"
	// CodeBusy waits: the site was at work on the contact and did nothing.
	CodeBusy = "site_busy"
	// CodeAbsent waits for the second answer of a CRM that has no such contact.
	CodeAbsent  = "contact_absent"
	CodeFailed  = "failed"
	CodeGivenUp = "too_many_attempts"
)

// Judge is the one place that tells passing errors from permanent ones.
// attempts are the counted failures before this one.
func Judge(err error, attempts int) Judgement {
	if contact.IsHeld(err) {
		return Judgement{Verdict: Yield, Code: CodeHeld}
	}
	// An outage first: a refusal that was met on the way to it is not final.
	if outage, ok := contact.AsOutage(err); ok {
		return Judgement{Verdict: Wait, Code: outageCode(err), After: outage.Outage()}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Judgement{Verdict: Wait, Code: CodeOutOfTime, After: afterTimeout}
	}
	if errors.Is(err, contact.ErrSuperseded) {
		return Judgement{Verdict: Wait, Code: CodeSuperseded}
	}
	var absent *contact.Absent
	if errors.As(err, &absent) {
		return Judgement{Verdict: Wait, Code: CodeAbsent, After: absent.Again}
	}
	var busy *contact.Busy
	if errors.As(err, &busy) {
		return Judgement{Verdict: Wait, Code: CodeBusy, After: busy.Again}
	}
	after := time.Duration(0)
	var postponed contact.Postponed
	if errors.As(err, &postponed) {
		after = postponed.Postponed()
	}
	var suspicion contact.Suspicion
	if errors.As(err, &suspicion) && attempts+1 < suspicion.Confirmed() {
		return Judgement{Verdict: TryAgain, Code: suspicion.Refusal(), After: after}
	}
	if refusal, ok := contact.AsRefusal(err); ok {
		return Judgement{Verdict: Park, Code: refusal.Refusal()}
	}
	if attempts+1 >= MaxAttempts {
		return Judgement{Verdict: Park, Code: CodeGivenUp}
	}
	return Judgement{Verdict: TryAgain, Code: CodeFailed, After: after}
}

// outageCode is the outage's own code if it has one that operators see.
func outageCode(err error) string {
	var named interface{ Code() string }
	if errors.As(err, &named) {
		switch code := named.Code(); code {
		case CodeNoLocks, CodeCircle:
			return code
		}
	}
	return CodeOutage
}

const (
	// afterTimeout gives what a timed-out pass was doing time to end: as long
	// as its claim would have kept others out, and a little longer.
	afterTimeout  = 6 * time.Second
	firstDelay    = 2 * time.Second
	longestWait   = time.Minute     // an outage ends at any time
	longestDelay  = 5 * time.Minute // a failing contact has time
	longestAsked  = 15 * time.Minute
	doublingLimit = 20
)

// Delay returns how long to wait before the next pass: doubling with each try,
// spread over the upper half so that contacts that failed together do not come
// back together. jitter is in [0, 1).
func (j Judgement) Delay(tries int, jitter float64) time.Duration {
	longest := longestDelay
	if j.Verdict == Wait {
		longest = longestWait
	}
	delay := float64(firstDelay) * math.Pow(2, float64(min(tries, doublingLimit)))
	delay = min(delay, float64(longest)) * (0.5 + jitter/2)
	if asked := min(j.After, longestAsked); time.Duration(delay) < asked {
		return asked + time.Duration(jitter*float64(asked)/4)
	}
	return time.Duration(delay)
}
