package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"spillway/internal/contact"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
	"spillway/internal/syncer"
)

const (
	// passesInPlace bounds the passes of one wake-up over a contact whose
	// webhooks keep arriving; others wait.
	passesInPlace = 3
	// inPlaceTime leaves the last of them time enough before the timeout.
	inPlaceTime = 12 * time.Second
)

// work runs passes over a claimed contact until it is done or has to wait.
func (w *Worker) work(ctx context.Context, site *Site, claim *pending.Claim) error {
	began := time.Now()
	for pass := 1; ; pass++ {
		result, took, err := w.pass(ctx, site, claim)
		// The outcome is written down even if the pass used up its time.
		endCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		if err != nil {
			err = w.fail(endCtx, claim, took, err)
			cancel()
			return err
		}
		event := w.event(claim, took)
		event.Kind, event.Outcome, event.UserID, event.Notes = history.Synced, string(result.Outcome), result.UserID, result.Notes
		event.Role, event.PasswordReturned = result.Role, result.PasswordReturned
		if seen := result.Observed; seen != nil {
			event.Kind, event.Code, event.Error = history.Observed, seen.Code, shorten(seen.Message)
		}
		w.ended(claim, event, nil)
		again, err := claim.Finish(endCtx, event.Encode())
		if again && err == nil && (claim.Hold > 0 || pass >= passesInPlace || time.Since(began) > inPlaceTime) {
			err = claim.Release(endCtx, claim.Hold, "")
			cancel()
			return w.settle(claim, err, &redelivery{after: claim.Hold, reason: "more webhooks arrived"})
		}
		cancel()
		if err != nil || !again {
			return w.settle(claim, err, nil)
		}
	}
}

// settle turns the end of a claim into an answer for asynq.
func (w *Worker) settle(claim *pending.Claim, err error, next *redelivery) error {
	switch {
	case errors.Is(err, pending.ErrLost):
		// Another wake-up has the contact, and this one finds itself stale. Or
		// an answer of Redis was lost and the end of the claim was sent twice:
		// then this wake-up is still the contact's.
		w.metrics.lost.WithLabelValues(claim.Ref.Site).Inc()
		w.options.Log.Warn().Stringer("contact", claim.Ref).Msg("the claim was lost during the pass; another pass follows")
		if next == nil {
			next = &redelivery{after: spread(2 * time.Second), reason: "the claim was lost"}
		}
		return next
	case err != nil:
		// The lock ends by itself, then this wake-up or the sweep claims anew.
		w.options.Log.Warn().Err(err).Stringer("contact", claim.Ref).Msg("ending the claim failed; the contact is synced again")
		return &redelivery{after: spread(5 * time.Second), reason: "ending the claim failed"}
	case next != nil:
		return next
	}
	return nil
}

// pass runs one pass; a panic is a failure of this contact.
func (w *Worker) pass(ctx context.Context, site *Site, claim *pending.Claim) (result contact.Result, took time.Duration, err error) {
	began := time.Now()
	ctx, span := w.startSpan(ctx, claim)
	defer func() {
		if p := recover(); p != nil {
			w.options.Log.Error().Stringer("contact", claim.Ref).Bytes("stack", debug.Stack()).
				Msgf("a pass panicked (%T); please report this as a bug", p)
			err = errors.New("the pass panicked; see the worker's log")
		}
		took = time.Since(began)
		endSpan(span, claim, result, err)
	}()
	result, err = site.Syncer.Pass(ctx, claim.Ref, claim.Intent, claim.AsOf)
	return result, 0, err
}

// yield puts a contact back whose pass met a limit that holds everyone back.
func (w *Worker) yield(ctx context.Context, claim *pending.Claim, cause error) error {
	w.metrics.yielded.WithLabelValues(claim.Ref.Site).Inc()
	w.options.Log.Debug().Err(cause).Stringer("contact", claim.Ref).Msg("the pass was held back; its contact keeps its place")
	return w.settle(claim, claim.Yield(ctx), nil)
}

// fail gives back or parks a contact whose pass failed.
func (w *Worker) fail(ctx context.Context, claim *pending.Claim, took time.Duration, cause error) error {
	judgement := syncer.Judge(cause, claim.Attempts)
	if judgement.Verdict == syncer.Yield {
		return w.yield(ctx, claim, cause)
	}
	failure := pending.Failure{Code: judgement.Code, Text: shorten(cause.Error())}
	event := w.event(claim, took)
	event.Kind, event.Code, event.Error = history.Retrying, failure.Code, failure.Text

	if judgement.Verdict == syncer.Park {
		asParked := event
		asParked.Kind = history.Parked
		parked, err := claim.Park(ctx, failure, asParked.Encode())
		if parked {
			w.ended(claim, asParked, cause)
			return nil
		}
		w.ended(claim, event, cause)
		if err == nil { // a webhook arrived that may have mended it
			err = claim.Release(ctx, 0, event.Encode())
		}
		return w.settle(claim, err, &redelivery{reason: "more webhooks arrived"})
	}
	w.ended(claim, event, cause)
	after := judgement.Delay(claim.Tries, rand.Float64()) //nolint:gosec // spreads load, guards nothing
	err := claim.Retry(ctx, after, judgement.Verdict == syncer.TryAgain, failure, event.Encode())
	return w.settle(claim, err, &redelivery{after: after, reason: judgement.Code})
}

// maxError bounds what an error may put into Redis.
const maxError = 500

func shorten(text string) string {
	if len(text) > maxError {
		return strings.ToValidUTF8(text[:maxError], "") + "…"
	}
	return text
}

// event says of a pass what does not depend on how it ended.
func (w *Worker) event(claim *pending.Claim, took time.Duration) history.Event {
	return history.Event{
		Time: time.Now().UTC(), Action: claim.Intent.Action.String(),
		Took: took.Milliseconds(), Waited: claim.Waited().Milliseconds(),
		Webhooks: claim.Webhooks, Covered: claim.Covered, RequestID: claim.RequestID,
	}
}

// ended counts a pass and writes its line into the log: info for one that
// synced, warn for one that is tried again, error for one that parked.
func (w *Worker) ended(claim *pending.Claim, event history.Event, cause error) {
	w.metrics.observe(claim.Ref.Site, event)
	line := w.options.Log.Info()
	outcome := event.Outcome
	if event.Kind == history.Observed {
		line, outcome = line.Str("would_be", event.Outcome).Str("code", event.Code), event.Kind
	}
	if cause != nil {
		line, outcome = w.options.Log.Warn(), event.Kind
		if event.Kind == history.Parked {
			line = w.options.Log.Error()
		}
		line = line.Err(cause).Str("code", event.Code).Int("attempt", claim.Attempts+1)
	}
	line.Stringer("contact", claim.Ref).Str("action", event.Action).Str("outcome", outcome).
		Str("request_id", event.RequestID).Int("covered", event.Covered).
		Int64("took_ms", event.Took).Int64("waited_ms", event.Waited).Strs("notes", event.Notes).Msg("pass ended")
}
