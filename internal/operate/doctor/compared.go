package doctor

import (
	"context"
	"time"

	"spillway/internal/admin/comparisons"
	"spillway/internal/admin/roster"
)

// compared proposes a comparison with the CRM after a time in which webhooks may
// have been lost, and says what the last one found.
func (e *examination) compared(ctx context.Context) {
	const check = "comparison"
	if e.rdb == nil {
		e.skip(check, "Redis does not answer")
		return
	}
	last, known, err := comparisons.New(e.rdb).Read(ctx, e.settings.Name)
	if err != nil {
		e.skip(check, "%v", err)
		return
	}
	down, wasDown, err := roster.New(e.rdb).LastDowntime(ctx)
	if err != nil {
		e.skip(check, "%v", err)
		return
	}
	const repair = "find and sync what was missed: spillway reconcile, then spillway reconcile --repair"
	switch {
	case wasDown && last.Began.Before(down.To):
		e.warn(check, repair, "ingest was down for %s until %s, and nothing has been compared since: webhooks may be lost",
			down.To.Sub(down.From).Round(time.Second), down.To.Format(time.DateTime+" UTC"))
	case known && last.Failure != "":
		e.warn(check, "look at what it names, and compare by hand: spillway reconcile",
			"the comparison of %s did not come to its end: %s", last.FailedAt.UTC().Format(time.DateTime+" UTC"), last.Failure)
	case last.Total() > 0:
		e.warn(check, repair, "%d contacts differed between the CRM and the site on %s", last.Total(), last.Ended.UTC().Format(time.DateTime+" UTC"))
	case known:
		e.ok(check, "nothing differed between the CRM and the site on %s", last.Ended.UTC().Format(time.DateTime+" UTC"))
	default:
		e.ok(check, "ingest was not down; the CRM and the site have not been compared yet")
	}
}
