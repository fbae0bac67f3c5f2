package connect

import (
	"fmt"
	"net/url"
	"strings"
)

// crm takes the CRM's address and the way in.
func (p *Plan) crm(f settings, takeOAuth bool) {
	address, changed := crmURL(f.text("pulsetech_url"))
	switch {
	case address == "":
		p.ask("SPILLWAY_CRM_URL", "The CRM account, such as https://app.ACCOUNT.thepulsespot.com.")
		p.remark("pulsetech_url", ToDo, "no address that can be used: fill in SPILLWAY_CRM_URL")
	case changed != "":
		p.set("SPILLWAY_CRM_URL", address, "The CRM account.")
		p.remark("pulsetech_url", Changed, changed)
	default:
		p.set("SPILLWAY_CRM_URL", address, "The CRM account.")
		p.remark("pulsetech_url", Taken, address)
	}
	token, refresh := f.secret("pulsetech_token"), f.secret("pulsetech_refresh_token")
	id, secret := f.secret("pulsetech_client_id"), f.secret("pulsetech_secret")
	whole := id != "" && secret != "" && refresh != ""
	const own = "a client of Spillway's own, made in the CRM where WP Fusion's was made, with the same redirect address; authorize it once and write its id, secret and refresh token into SPILLWAY_CRM_CLIENT_ID, SPILLWAY_CRM_CLIENT_SECRET and SPILLWAY_CRM_REFRESH_TOKEN in place of SPILLWAY_CRM_TOKEN"
	switch {
	case takeOAuth && whole:
		p.secret("SPILLWAY_CRM_CLIENT_ID", id, "WP Fusion's OAuth client. Its refresh token works once: WP Fusion's own token may end with Spillway's first renewal.")
		p.secret("SPILLWAY_CRM_CLIENT_SECRET", secret, "")
		p.secret("SPILLWAY_CRM_REFRESH_TOKEN", refresh, "")
		p.remark("pulsetech_refresh_token", Changed, "a refresh token works once, and each renewal ends the token before: WP Fusion's access token may end with Spillway's first call, and WP Fusion then takes its users' tags away at their next sync. Switch off its login sync first, or use "+own)
		p.remark("pulsetech_token", Left, "not needed beside the refresh token")
	case token != "":
		p.secret("SPILLWAY_CRM_TOKEN", token, "WP Fusion's access token. It ends one day; an OAuth client of Spillway's own renews itself.")
		if whole {
			p.ask("SPILLWAY_CRM_CLIENT_ID", "In place of SPILLWAY_CRM_TOKEN: an OAuth client that nothing else uses; needs SPILLWAY_SECRET_KEY.")
			p.ask("SPILLWAY_CRM_CLIENT_SECRET", "")
			p.ask("SPILLWAY_CRM_REFRESH_TOKEN", "")
			p.remark("pulsetech_token", Taken, "the same token serves both while it lasts; WP Fusion never renews it, and neither can Spillway")
			p.remark("pulsetech_refresh_token", Left, "a refresh token works once, and two programs that renew one client end each other's tokens. Before the token ends, use "+own+"; or, once WP Fusion is switched off, take its client with --take-oauth and another code")
		} else {
			p.remark("pulsetech_token", Taken, "the same token serves both")
		}
	default:
		p.ask("SPILLWAY_CRM_TOKEN", "A token of the CRM's API, or the three settings of OAuth.")
		p.remark("pulsetech_token", ToDo, "WP Fusion has no access token: fill in SPILLWAY_CRM_TOKEN, or use "+own)
	}
}

// crmURL brings the CRM's address into Spillway's form. changed says what was
// done to it.
func crmURL(raw string) (address, changed string) {
	raw = strings.TrimSpace(raw)
	if raw != "" && !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return "", ""
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		u.Scheme, changed = "https", "https:// in place of http://, since the token travels there"
	}
	u.RawQuery, u.Fragment = "", ""
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/api/v1")
	return strings.TrimRight(u.String(), "/"), changed
}

// people takes the settings for new users.
func (p *Plan) people(f settings) {
	if f.on("send_welcome_email") {
		p.set("SPILLWAY_NOTIFY", "always", "As WP Fusion's setting: every new user gets the login details by mail.")
		p.remark("send_welcome_email", Taken, "every new user gets WordPress's login details")
	} else {
		p.remark("send_welcome_email", Taken, "off: new users get a mail where the webhook has send_notification=true")
	}
	switch format := f.text("username_format"); format {
	case "", "email":
		p.remark("username_format", Taken, "the e-mail address")
	case "flname", "fnamenum":
		p.set("SPILLWAY_LOGIN", format, "As WP Fusion's setting: what logins are made of.")
		p.remark("username_format", Taken, format)
	default:
		p.remark("username_format", Left, fmt.Sprintf("%q is unknown to Spillway: logins are made of the e-mail address", plainKey(format)))
	}
	roles := "WP Fusion has no such setting: it gives any role that a webhook asks for. Spillway gives subscriber and customer; "
	if len(f.ImportRoles) > 0 {
		roles += "its imports have given " + strings.Join(f.ImportRoles, ", ") + "; "
	}
	p.ask("SPILLWAY_ROLES_ALLOWED", "Roles that a webhook may give, such as subscriber,customer. Look at role= in the CRM's webhook addresses.")
	p.remark("roles", ToDo, roles+"if role= in the CRM's webhook addresses names others, list all of them in SPILLWAY_ROLES_ALLOWED")
	p.remark("meta keys", Taken, fmt.Sprintf("%s and %s; the connector remembers them, so WP Fusion may be switched off and on again", f.ContactIDKey, f.TagsKey))
	if f.on("multisite_prefix_keys") {
		p.remark("multisite_prefix_keys", Taken, "the connector goes on with this site's own keys")
	}
}

// outgoing remarks on what WP Fusion sends to the CRM: Spillway leaves that to it.
func (p *Plan) outgoing(f settings) {
	for _, key := range []string{"create_users", "push", "assign_tags", "deletion_tags", "user_roles"} {
		if f.on(key) {
			p.remark(key, Left, "from the site to the CRM: WP Fusion goes on doing it")
		}
	}
	if f.on("push_all_meta") {
		p.remark("push_all_meta", Left, "WP Fusion sends every change of user meta to the CRM. The connector keeps it silent while it stores; changes by others still go, and come back as webhooks")
	}
}

// upkeep is what to look at around the move.
func (p *Plan) upkeep(f settings) {
	if f.on("login_sync") || f.on("login_meta_sync") {
		p.remark("login_sync", ToDo, "WP Fusion reads the CRM at each login, which makes the login wait; with Spillway it may be switched off")
	}
	if f.on("enable_cron") || f.Waiting > 0 {
		p.remark("enable_cron", ToDo, fmt.Sprintf("webhooks with async=true wait in the site's own queue (%d batches now): let it run empty before the last step", f.Waiting))
	}
	if f.on("auto_login") {
		p.remark("auto_login", Left, "links that log in are WP Fusion's; it has to stay active for them")
	}
	if f.on("auto_login_thrivecart") {
		p.remark("auto_login_thrivecart", Left, "wpf_action=thrivecart must go on reaching WordPress, with the same access key: the web server's files in deploy/ leave it there")
	}
	if f.on("enable_logging") || f.on("logging_http_api") {
		p.remark("enable_logging", ToDo, "WP Fusion's log holds generated passwords in plain text: flush it under Settings » WP Fusion Logs")
	}
}
