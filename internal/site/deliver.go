package site

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"spillway/internal/contact"
)

// deliver sends a batch and answers every contact in it, except those that the
// site deferred, which it returns. A request that fails as a whole while the
// site is well is halved until the contact that kills it stands alone. An
// outage ends the halving and is returned.
func (c *Client) deliver(ctx context.Context, f *flight, batch []*waiter) (deferred []*waiter, outage error) {
	if len(stillAwaited(batch)) == 0 {
		return nil, nil
	}
	if err := c.options.Breaker.Allow(ctx); err != nil {
		return nil, failAll(batch, err)
	}
	c.guard.Sending(ctx)
	// Both ask Redis, which may take its time: what is sent is looked at last.
	if batch = stillAwaited(batch); len(batch) == 0 {
		c.guard.Unsent(ctx)
		return nil, nil
	}
	replies, err := c.send(ctx, f, batch)
	if err == nil {
		return c.hand(batch, replies)
	}
	var failure *wholeFailure
	if !errors.As(err, &failure) {
		return nil, failAll(batch, err)
	}
	if failure.kind == slow && len(batch) > 1 {
		// The batch was too much for the site, which needs rest now, not more
		// requests; the next batches are smaller.
		return nil, failAll(batch, c.away(ctx, slowWeight, &Unavailable{Reason: failure.what}))
	}
	if err := c.alive(ctx, failure); err != nil {
		return nil, failAll(batch, err)
	}
	if len(batch) == 1 {
		return nil, c.blame(ctx, batch[0], failure)
	}
	first, second := batch[:len(batch)/2], batch[len(batch)/2:]
	deferred, outage = c.deliver(ctx, f, first)
	if outage != nil {
		return deferred, failAll(second, outage)
	}
	more, outage := c.deliver(ctx, f, second)
	return append(deferred, more...), outage
}

// hand gives each caller the answer for its contact.
func (c *Client) hand(batch []*waiter, replies []reply) (deferred []*waiter, outage error) {
	for i, w := range batch {
		if i < len(replies) && replies[i].ContactID == w.id && replies[i].Outcome == outcomeDeferred {
			deferred = append(deferred, w)
		}
	}
	if len(deferred) == len(batch) {
		return nil, failAll(batch, &Unavailable{Reason: "the site reached none of the request's contacts in its time"})
	}
	for i, w := range batch {
		switch {
		case i >= len(replies) || replies[i].ContactID != w.id:
			w.fail(fmt.Errorf("storing contact %s: the site's answer lacks it, or has another contact in its place", w.id))
		case replies[i].Outcome != outcomeDeferred:
			result, err := replies[i].read(w.values, c.options.Observing)
			w.answer <- answer{result: result, err: err}
		}
	}
	return deferred, nil
}

// alive asks the status route whether the site is well, unless the failure
// shows it. Its own error explains more than the failure does.
func (c *Client) alive(ctx context.Context, failure *wholeFailure) error {
	if failure.kind == rejected {
		return nil
	}
	if _, err := c.Status(ctx); err != nil {
		weight := 1
		if failure.kind == slow {
			weight = slowWeight
		}
		return c.away(ctx, weight, fmt.Errorf("%s, and then: %w", failure.what, err))
	}
	return nil
}

// slowWeight is how many failures a request counts as that timed out: it took
// 25 s, where others fail at once.
const slowWeight = 2

// away takes note of an outage, which counts as weight of them, and returns it.
func (c *Client) away(ctx context.Context, weight int, err error) error {
	if outage, ok := contact.AsOutage(err); ok {
		c.options.Breaker.Failed(ctx, weight, outage.Outage(), err.Error())
	}
	return err
}

// blameLimit is how many contacts in a row may be blamed while the site answers
// no request at all. After that the site is to blame: a plugin that dies on
// every contact, or a firewall that stops every POST, must not park them all.
const blameLimit = 3

// blame answers a contact whose request fails as a whole with nothing else in
// it, while the site is well. It returns an outage if the site is to blame.
func (c *Client) blame(ctx context.Context, w *waiter, failure *wholeFailure) (outage error) {
	if c.blamed.Add(1) > blameLimit {
		err := c.away(ctx, 1, &Unavailable{Reason: failure.what +
			" with one contact after the other, although its status route answers; " +
			cmp.Or(failure.why, "see the site's PHP error log, and that of a firewall in front of it")})
		w.fail(err)
		return err
	}
	const alone = " whenever this contact is in the request, while the site is well otherwise; "
	switch failure.kind {
	case slow:
		w.fail(&Failed{ContactID: w.id, Code: "site_timeout", Message: failure.what + alone + "see what the site's plugins do when a user is stored"})
	case fatal:
		w.fail(&Refused{ContactID: w.id, Code: codeFatal, Message: failure.what + alone + cmp.Or(without(failure.why, w.values), "see the site's PHP error log")})
	case redirected:
		w.fail(&Refused{ContactID: w.id, Code: "site_rejected", Message: failure.what + alone + failure.why})
	case forbidden, rejected:
		w.fail(&Refused{ContactID: w.id, Code: "site_rejected", Message: failure.what + alone + "see the site's log, and that of a firewall in front of it"})
	}
	return nil
}

func failAll(batch []*waiter, err error) error {
	for _, w := range batch {
		w.fail(err)
	}
	return err
}
