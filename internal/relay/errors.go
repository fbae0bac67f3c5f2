package relay

import (
	"fmt"
	"time"

	"spillway/internal/contact"
)

// usualLock is how long WP Fusion ignores further webhooks for a contact after one
// that it did not finish, and a little more.
const usualLock = 62 * time.Second

// Unavailable reports that the site is away or busy. It is a [contact.Outage].
type Unavailable struct {
	Reason string
	After  time.Duration // how long the site asked to be left alone; zero: it did not
}

func (e *Unavailable) Error() string { return "the site is unavailable: " + e.Reason }

// Outage returns how long the site asked to be left alone.
func (e *Unavailable) Outage() time.Duration { return e.After }

// unknown is an outage after which nobody knows whether WP Fusion went on with
// the contact.
type unknown struct{ Unavailable }

// Hindered reports that something keeps Spillway from WP Fusion's endpoint, and
// what a person has to do about it. It is a [contact.Outage]: contacts wait.
type Hindered struct {
	Reason string // the code of the hindrance
	Text   string // what was seen
	Remedy string
	After  time.Duration // how long the site asked to be left alone; zero: it did not
}

func (e *Hindered) Error() string {
	return fmt.Sprintf("WP Fusion's endpoint cannot be used (%s): %s: %s", e.Reason, e.Text, e.Remedy)
}

// Outage returns how long the site asked to be left alone.
func (e *Hindered) Outage() time.Duration { return e.After }

// Code returns the hindrance's code.
func (e *Hindered) Code() string { return e.Reason }

// CodeCircle is the code of an outage: what answers at the site's address is
// Spillway itself.
const CodeCircle = "relay_circle"

// hindrances are what keeps Spillway from the endpoint, each with its remedy.
var hindrances = map[string]struct{ text, remedy string }{
	CodeCircle: {
		"Spillway itself answers there: the site's web server sends the relay's own requests back to it",
		"let the web server know them by their header X-Spillway-Relay: `spillway relay` prints the lines, and docs/web-servers.md says where they belong",
	},
	"relay_key": {
		"WP Fusion refuses the access key",
		"put WP Fusion's own key first in SPILLWAY_ACCESS_KEYS; it is at the bottom of WP Fusion's settings, under General",
	},
	"relay_no_endpoint": {
		"something else than WP Fusion's endpoint answers",
		"check SPILLWAY_SITE_URL, that WP Fusion is active and connected (WP Fusion Lite has no endpoint), and that no page cache or security plugin answers in its place",
	},
	"relay_crm": {
		"WP Fusion fails with one contact after the other, as it does when the CRM does not let it in",
		"see WP Fusion's log (Settings » WP Fusion Logs) and its connection to the CRM: a token that has ended is the most common cause",
	},
	"server_password": {
		"the web server asks for a user and a password of its own (Basic authentication)",
		"write them into the address, SPILLWAY_SITE_URL=https://USER:PASSWORD@HOST; check them if they are there",
	},
	"challenge": {
		"a firewall in front of it wants to see a person",
		"let the firewall of the host or the CDN except this machine's address, or addresses with wpf_action",
	},
	"rate_limited": {
		"it limits how often it may be called",
		"let the host, CDN or firewall except this machine's address, or lower SPILLWAY_SITE_CONCURRENCY",
	},
	"refused_page": {
		"a firewall or a plugin refuses the request",
		"look for what makes that page, and let it except this machine's address",
	},
}

// Refused reports a contact that WP Fusion will not take however often it is
// asked. It is a [contact.Refusal].
type Refused struct {
	ContactID string
	Code      string
	Message   string
}

func (e *Refused) Error() string {
	return fmt.Sprintf("WP Fusion does not take contact %s (%s): %s", e.ContactID, e.Code, e.Message)
}

// Refusal returns the code.
func (e *Refused) Refusal() string { return e.Code }

// Failed reports a contact that WP Fusion could not store this time.
type Failed struct {
	ContactID string
	Message   string
	// After is how long asking again is useless.
	After time.Duration
}

func (e *Failed) Error() string {
	return fmt.Sprintf("WP Fusion failed to store contact %s: %s", e.ContactID, e.Message)
}

// Postponed returns After.
func (e *Failed) Postponed() time.Duration { return e.After }

// died is a [contact.Suspicion]: WordPress died while this contact was under way,
// and is well otherwise.
type died struct {
	Refused
	after time.Duration
}

// confirmed is how often it must before that is no accident.
const confirmed = 3

// Confirmed makes it a suspicion.
func (*died) Confirmed() int { return confirmed }

// Postponed returns how long asking again is useless.
func (e *died) Postponed() time.Duration { return e.after }

// noUser is a [contact.Suspicion], since WP Fusion does not say why.
type noUser struct{ Refused }

// Confirmed makes it a suspicion.
func (*noUser) Confirmed() int { return confirmed }

// noTime reports a pass that had not enough time left for a request. The site is
// well, so the contact keeps its place.
type noTime struct{ id string }

func (e *noTime) Error() string {
	return "the request for contact " + e.id + " was not sent: its pass had no time left for it"
}

// Outage returns zero.
func (*noTime) Outage() time.Duration { return 0 }

// Held says that the contact keeps its place.
func (*noTime) Held() bool { return true }

var (
	_ contact.Held      = (*noTime)(nil)
	_ contact.Postponed = (*Failed)(nil)
	_ contact.Suspicion = (*died)(nil)
)
