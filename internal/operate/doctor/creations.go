package doctor

import (
	"context"

	"spillway/internal/throttle"
)

// creations tells of a global add: webhooks that make an account of every
// contact.
func (e *examination) creations(ctx context.Context) {
	const check = "creations"
	const cause = "look in the CRM whether a global webhook (Tools » Webhooks) or a workflow for everybody sends wpf_action=add, which makes an account of each contact; update is meant nearly always"
	switch {
	case e.rdb == nil:
		e.skip(check, "Redis does not answer")
		return
	case e.settings.CreationLimit == 0:
		e.warn(check, "set SPILLWAY_CREATION_LIMIT, 1000 unless you need more: a global add by mistake makes an account of every contact", "there is no limit on new users")
		return
	}
	counts, err := throttle.NewCreations(e.rdb, e.settings.Name, e.settings.CreationLimit).Counts(ctx)
	switch {
	case err != nil:
		e.skip(check, "%v", err)
	case counts.Held > 0:
		e.warn(check, cause+"; then `spillway creations allow`, or drop", "%d new users are held back: SPILLWAY_CREATION_LIMIT=%d was reached", counts.Held, counts.Limit)
	case counts.Made*2 >= int64(counts.Limit):
		e.warn(check, cause, "%d users were created within the last hour, of %d that SPILLWAY_CREATION_LIMIT allows", counts.Made, counts.Limit)
	default:
		e.ok(check, "%d users were created within the last hour, of %d that are allowed", counts.Made, counts.Limit)
	}
}
