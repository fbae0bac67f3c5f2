package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"spillway/deploy/wordpress"
	"spillway/internal/contact"
	"spillway/internal/site"
)

// site sees whether the site answers, lets Spillway in, and has the connector.
func (e *examination) site(ctx context.Context) {
	const check = "site"
	settings := e.settings.Site
	if settings.URL == "" {
		e.skip(check, "SPILLWAY_SITE_URL is missing")
		return
	}
	seen := e.newAnswered()
	if settings.User == "" || settings.AppPassword == "" {
		e.reach(ctx, seen)
		e.skip("site password", "SPILLWAY_SITE_USER or SPILLWAY_SITE_APP_PASSWORD is missing")
		return
	}
	client, err := site.New(site.Options{URL: settings.WithServer(settings.URL), User: settings.User, AppPassword: settings.AppPassword, HTTP: seen.client()})
	if err != nil {
		e.fail(check, "mend the setting", "%v", err)
		return
	}
	defer client.Close(ctx)
	status, err := client.Status(ctx, e.wordPressKeys()...)
	if err != nil {
		e.refused(err, seen)
		return
	}
	e.status = &status
	e.ok(check, "%s answers in %s", settings.URL, millis(seen.took))
	e.certificate("site certificate", seen.expiry)
	e.noteClock("site", seen)
	e.ok("site password", "%s is let in", "SPILLWAY_SITE_USER")
	e.rights(status)
	e.database(status)
	e.plugin(status)
	e.versions(status)
	e.roles(status)
	e.batch(status)
	e.probe(ctx)
}

// reach sees whether the site answers at all.
func (e *examination) reach(ctx context.Context, seen *answered) {
	const check = "site"
	status, err := get(ctx, seen.client(), e.settings.Site.WithServer(e.settings.Site.URL+"/"), nil)
	switch {
	case err != nil:
		e.fail(check, "check SPILLWAY_SITE_URL, and that this machine reaches it", "%s does not answer", e.settings.Site.URL)
	case status >= 500:
		e.fail(check, "see the site's own error log", "%s answers with status %d", e.settings.Site.URL, status)
	default:
		e.ok(check, "%s answers in %s (status %d)", e.settings.Site.URL, millis(seen.took), status)
		e.certificate("site certificate", seen.expiry)
		e.noteClock("site", seen)
	}
}

// checks are the findings under which a hindrance is told; "site" for others.
var checks = map[string]string{
	"wrong_password": "site password", "unknown_user": "site password", "passwords_off": "site password",
	"no_credentials": "site password", "no_tls": "site password", "refused": "site password", "not_let_in": "site password",
	"no_right": "site rights", "no_plugin": "site plugin",
}

// refused says which of the things that a status needs is missing.
func (e *examination) refused(err error, seen *answered) {
	var hindered *site.Hindered
	url := e.settings.Site.URL
	switch {
	case errors.As(err, &hindered):
		check, ok := checks[hindered.Code]
		if !ok {
			e.fail("site", hindered.Remedy, "%s: %s", url, hindered.Text)
			return
		}
		e.ok("site", "%s answers in %s", url, millis(seen.took))
		e.fail(check, hindered.Remedy, "%s", hindered.Text)
	case seen.status == 0:
		e.fail("site", "check SPILLWAY_SITE_URL, and that this machine reaches it", "%s: %v", url, err)
	case seen.status >= 300 && seen.status < 400:
		e.fail("site", "set SPILLWAY_SITE_URL to the address that the site itself uses", "%s: %v", url, err)
	default:
		e.fail("site", "see the site's own error log", "%s: %v", url, err)
	}
}

// rights warns of a user whose password is worth more than the connector.
func (e *examination) rights(status site.Status) {
	const check = "site rights"
	const remedy = "give that user the role Spillway and no other, under Users in WordPress"
	const shown = 5
	switch beyond := status.Rights.Beyond; {
	case status.Locks == nil:
		e.ok(check, "that user may store contacts")
	case len(beyond) > 0:
		more := ""
		if len(beyond) > shown {
			more = fmt.Sprintf(" and %d more", len(beyond)-shown)
		}
		e.warn(check, remedy, "that user can do more on the site than Spillway needs, and so can anyone who gets the password: %s%s",
			strings.Join(beyond[:min(len(beyond), shown)], ", "), more)
	default:
		e.ok(check, "that user may store contacts and nothing else")
	}
}

// database says what the site's database does not give.
func (e *examination) database(status site.Status) {
	const check = "site database"
	switch {
	case status.Locks == nil || status.Transactions == nil:
		return // an older connector
	case !*status.Locks:
		e.fail(check, "let the database allow them: Percona XtraDB Cluster refuses them in the strict mode ENFORCING, ProxySQL while it multiplexes",
			"it refuses named locks (GET_LOCK), without which no contact is stored")
	case !*status.Transactions:
		e.warn(check, "convert the tables of users and their meta to InnoDB",
			"its tables of users take no part in transactions: what a contact had stored before it failed stays")
	default:
		e.ok(check, "it has named locks and transactions")
	}
}

func (e *examination) plugin(status site.Status) {
	const check = "site plugin"
	const remedy = "write the connector plugin with `spillway plugin`, upload it under Plugins » Add New, replace the one that is there"
	ours, err := wordpress.Version()
	switch {
	case err != nil:
		e.fail(check, "build Spillway again", "%v", err)
	case status.Protocol < wordpress.Protocol:
		e.fail(check, remedy, "version %s speaks protocol %d, and Spillway needs %d", status.Plugin, status.Protocol, wordpress.Protocol)
	case status.Protocol > wordpress.Protocol:
		e.fail(check, "update Spillway", "version %s speaks protocol %d, and this Spillway knows %d", status.Plugin, status.Protocol, wordpress.Protocol)
	case older(status.Plugin, ours) || status.Fields == nil:
		e.warn(check, remedy, "version %s, and %s is there", status.Plugin, ours)
	default:
		e.ok(check, "version %s, protocol %d", status.Plugin, status.Protocol)
	}
}

func (e *examination) versions(status site.Status) {
	multisite := ""
	if status.Multisite {
		multisite = ", one of a multisite"
	}
	if older(status.WordPress, "5.6") || older(status.PHP, "7.4") {
		e.fail("WordPress", "update them: the connector needs WordPress 5.6 and PHP 7.4", "WordPress %s, PHP %s%s", status.WordPress, status.PHP, multisite)
	} else {
		e.ok("WordPress", "WordPress %s, PHP %s%s", status.WordPress, status.PHP, multisite)
	}
	if status.WPFusion == "" {
		e.ok("WP Fusion", "not active; the connector stores where WP Fusion would")
	} else {
		e.ok("WP Fusion", "%s is active; its functions store fields and tags", status.WPFusion)
	}
	if strings.HasPrefix(status.ContactIDKey, "pulsetech_") && strings.HasPrefix(status.TagsKey, "pulsetech_") {
		e.ok("meta keys", "contact ids in %s, tags in %s", status.ContactIDKey, status.TagsKey)
	} else {
		e.warn("meta keys", "connect WP Fusion to PulseTechnologyCRM, or deactivate it",
			"contact ids go to %s and tags to %s: WP Fusion is connected to another CRM", status.ContactIDKey, status.TagsKey)
	}
}

func (e *examination) roles(status site.Status) {
	var missing []string
	for _, role := range e.settings.RolesAllowed {
		if _, ok := status.Roles[role]; !ok {
			missing = append(missing, role)
		}
	}
	known := func() string {
		var roles []string
		for role := range status.Roles {
			roles = append(roles, role)
		}
		slices.Sort(roles)
		return strings.Join(roles, ", ")
	}
	if len(missing) > 0 {
		e.warn("roles", "take them out of SPILLWAY_ROLES_ALLOWED, or make them; the site has: "+known(),
			"the site has no role %s: a user who should get one keeps the present role", strings.Join(missing, ", "))
	} else {
		e.ok("roles", "%s exist", strings.Join(e.settings.RolesAllowed, ", "))
	}
	role := e.settings.DefaultRole
	switch _, ok := status.Roles[role]; {
	case role == "":
		e.ok("default role", "the site's own: %s", status.DefaultRole)
	case !ok:
		e.fail("default role", "set SPILLWAY_DEFAULT_ROLE to one of: "+known(), "the site has no role %s; new users get %s", role, status.DefaultRole)
	default:
		e.ok("default role", "%s exists", role)
	}
}

func (e *examination) batch(status site.Status) {
	if most := status.Limits.Contacts; most > 0 && e.settings.Site.Batch > most {
		e.fail("site batch", "lower SPILLWAY_SITE_BATCH", "SPILLWAY_SITE_BATCH is %d, and the site takes %d", e.settings.Site.Batch, most)
	}
}

// probe asks for the page that the guard watches.
func (e *examination) probe(ctx context.Context) {
	const check = "probe page"
	if e.settings.Site.ProbeURL == "" {
		return
	}
	seen := e.newAnswered()
	status, err := get(ctx, seen.client(), e.settings.Site.WithServer(e.settings.Site.ProbeURL), nil)
	switch {
	case err != nil:
		e.fail(check, "check SPILLWAY_SITE_PROBE_URL", "SPILLWAY_SITE_PROBE_URL does not answer")
	case status != http.StatusOK:
		e.fail(check, "set SPILLWAY_SITE_PROBE_URL to a page that answers 200 without a redirect", "SPILLWAY_SITE_PROBE_URL answers with status %d", status)
	default:
		e.ok(check, "answers in %s", millis(seen.took))
	}
}

// wordPressKeys are the keys into which fields are stored.
func (e *examination) wordPressKeys() []string {
	keys := make([]string, 0, len(e.settings.Fields))
	for _, field := range e.settings.Fields {
		keys = append(keys, field.WordPress)
	}
	return keys
}

// fields looks for keys that one of the two sides does not know.
func (e *examination) fields(context.Context) {
	e.fieldsOfTheCRM()
	const check = "fields of the site"
	if e.status == nil || e.status.Fields == nil {
		e.skip(check, "the site's connector did not say which keys it knows")
		return
	}
	var unknown, protected []string
	for _, key := range e.wordPressKeys() {
		switch e.status.Fields[key] {
		case "unknown", "":
			unknown = append(unknown, key)
		case "protected":
			protected = append(protected, key)
		}
	}
	switch {
	case len(protected) > 0:
		e.fail(check, "take them out of SPILLWAY_FIELDS", "no field may write %s", strings.Join(protected, ", "))
	case len(unknown) > 0:
		e.warn(check, "check their spelling in SPILLWAY_FIELDS; new keys are stored as user meta all the same",
			"no user has %s, and nothing on the site has registered it", strings.Join(unknown, ", "))
	default:
		e.ok(check, "all %d are known", len(e.settings.Fields))
	}
}

func (e *examination) fieldsOfTheCRM() {
	const check = "fields of the CRM"
	if e.crmFields == nil {
		e.skip(check, "the CRM did not tell its fields")
		return
	}
	wanted := crmKeys(e.settings.Fields)
	if e.settings.ReturnPasswordField != "" {
		wanted = append(wanted, e.settings.ReturnPasswordField)
	}
	for _, field := range e.settings.ReturnFields {
		wanted = append(wanted, field)
	}
	slices.Sort(wanted)
	var missing []string
	for _, field := range slices.Compact(wanted) {
		if _, ok := e.crmFields[field]; !ok && field != "id" {
			missing = append(missing, field)
		}
	}
	if len(missing) > 0 {
		e.fail(check, "check their spelling in SPILLWAY_FIELDS, SPILLWAY_RETURN_PASSWORD_FIELD and SPILLWAY_RETURN_FIELDS, or make them in the CRM",
			"the CRM has no field %s", strings.Join(missing, ", "))
		return
	}
	e.ok(check, "all %d exist among the CRM's %d", len(slices.Compact(wanted)), len(e.crmFields))
}

func crmKeys(fields contact.FieldMap) []string {
	var keys []string
	for _, field := range fields {
		keys = append(keys, field.CRM)
	}
	return keys
}

// get reads an address and returns its status.
func get(ctx context.Context, client *http.Client, address string, header http.Header) (int, error) {
	status, _, err := read(ctx, client, address, header)
	return status, err
}

// read is get with the beginning of the answer.
func read(ctx context.Context, client *http.Client, address string, header http.Header) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, nil, err
	}
	request.Header = header.Clone()
	if request.Header == nil {
		request.Header = http.Header{}
	}
	request.Header.Set("User-Agent", "Spillway")
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	const enough = 64 << 10
	body, err := io.ReadAll(io.LimitReader(response.Body, enough))
	return response.StatusCode, body, err
}
