package pulse

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// slowWeight is how many failures a call counts as that timed out.
const slowWeight = 3

// allowed waits until the call may be made: the breaker lets it through, and
// the budget has room.
func (c *Client) allowed(ctx context.Context) error {
	if c.breaker != nil {
		// A CRM that is away should not use up the budget.
		if err := c.breaker.Allow(ctx); err != nil {
			return err
		}
	}
	if c.budget == nil {
		return nil
	}
	if err := c.budget.Wait(ctx); err != nil {
		return err
	}
	if c.breaker == nil {
		return nil
	}
	return c.breaker.Allow(ctx) // the wait may have been long
}

// report tells the breaker how a call went. A 429 is the budget's affair, and a
// caller that gave up says nothing of the CRM.
func (c *Client) report(ctx context.Context, a answer, err error) {
	var unavailable *Unavailable
	switch {
	case c.breaker == nil, a.status == http.StatusTooManyRequests:
	case !errors.As(err, &unavailable):
		c.breaker.Succeeded(ctx)
	case unavailable.Err != nil:
	case unavailable.slow:
		c.breaker.Failed(ctx, slowWeight, 0, unavailable.Reason)
	default:
		var asked time.Duration
		if isBusy(a.status) {
			asked = unavailable.RetryAfter
		}
		c.breaker.Failed(ctx, 1, asked, unavailable.Reason)
	}
}

// reportToken tells the breaker that there is no access token. Redis may be to
// blame for that, too, which is no outage of the CRM.
func (c *Client) reportToken(ctx context.Context, err error) {
	var unavailable *Unavailable
	if errors.As(err, &unavailable) && (unavailable.Status != 0 || unavailable.called) {
		c.report(ctx, answer{status: unavailable.Status}, err)
	}
}
