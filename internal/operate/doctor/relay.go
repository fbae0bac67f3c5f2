package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"

	"spillway/internal/assembly"
	"spillway/internal/relay"
)

// relayed examines a site in mode relay: WP Fusion's own endpoint, whether it
// takes the access key, and whether Spillway meets itself there.
func (e *examination) relayed(ctx context.Context) {
	const check = "relay"
	const by = "mode relay needs none: WP Fusion stores what it reads from the CRM"
	e.skip("CRM", "%s", by)
	e.skip("site plugin", "%s", by)
	e.unused()
	switch {
	case e.settings.Site.URL == "":
		e.skip("site", "SPILLWAY_SITE_URL is missing")
		return
	case len(e.settings.AccessKeys) == 0:
		e.reach(ctx, e.newAnswered())
		e.skip(check, "SPILLWAY_ACCESS_KEYS is missing")
		return
	}
	seen := e.newAnswered()
	err := assembly.TestRelay(ctx, e.settings, seen.client())
	var hindered *relay.Hindered
	switch {
	case errors.As(err, &hindered):
		e.ok("site", "%s answers in %s", e.settings.Site.URL, millis(seen.took))
		e.fail(check, hindered.Remedy, "%s (%s)", hindered.Text, hindered.Reason)
	case err != nil:
		e.fail("site", "check SPILLWAY_SITE_URL, and that this machine reaches it; see the site's own error log", "%s: %v", e.settings.Site.URL, err)
	default:
		e.ok("site", "%s answers in %s", e.settings.Site.URL, millis(seen.took))
		e.certificate("site certificate", seen.expiry)
		e.noteClock("site", seen)
		e.ok(check, "WP Fusion's endpoint takes the first of SPILLWAY_ACCESS_KEYS, and Spillway does not meet itself there")
		e.probe(ctx)
	}
}

// unused names settings that are for the other modes: WP Fusion has its own.
func (e *examination) unused() {
	settings := e.settings
	var names []string
	for name, isSet := range map[string]bool{
		"SPILLWAY_RETURN_PASSWORD_FIELD": settings.ReturnPasswordField != "",
		"SPILLWAY_RETURN_FIELDS":         len(settings.ReturnFields) > 0,
		"SPILLWAY_CREATED_TAG":           settings.CreatedTag != "",
		"SPILLWAY_DEFAULT_ROLE":          settings.DefaultRole != "",
		"SPILLWAY_DELETED_CONTACTS":      settings.ClearDeleted,
		"SPILLWAY_RECONCILE":             settings.Reconcile != "",
	} {
		if isSet {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		slices.Sort(names)
		e.warn("settings", "look whether WP Fusion has the like in its own settings", "in mode relay these have no effect: %s", strings.Join(names, ", "))
	}
}
