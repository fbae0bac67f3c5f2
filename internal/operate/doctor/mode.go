package doctor

import (
	"context"

	"spillway/internal/admin/observations"
	"spillway/internal/config"
)

// mode names how contacts get to the site, where that is not as usual.
func (e *examination) mode(ctx context.Context) {
	const check = "mode"
	if e.settings.Mode != config.Observe {
		e.ok(check, "%s", e.settings.Mode)
		return
	}
	const remedy = "when `spillway observe` shows what you expect, set SPILLWAY_MODE=connector"
	if e.rdb == nil {
		e.warn(check, remedy, "observe: nothing is written to the site and to the CRM")
		return
	}
	report, err := observations.New(e.rdb, e.settings.Name).Report(ctx)
	if err != nil {
		e.warn(check, remedy, "observe: nothing is written to the site and to the CRM; %v", err)
		return
	}
	e.warn(check, remedy, "observe: nothing is written to the site and to the CRM; %d contacts were looked at", report.Contacts)
}
