// Package webhook understands what a CRM sends: an action for a contact,
// authenticated by an access key, in the forms that WP Fusion's endpoint takes.
//
// It guarantees: a sender without an accepted key learns nothing about the rest
// of a request; a [Hook] that it returns names one contact by its only spelling
// and asks for a known action; no request makes it panic, read more than
// [MaxBody] bytes of body or hold more than some kilobytes of it. It keeps
// nothing of a body but the parameters below: fields, tags and addresses that a
// CRM sends along are dropped unread.
//
// A request states its parameters in the query or in the body. The query counts
// first, and the body is looked at only for what the query lacks, so a webhook
// whose URL is complete cannot be refused because of its body. As in PHP the
// last of several parameters of one name counts, and name[] makes a list, which
// is no value of any of them. An empty parameter is an absent one. Blanks around
// names and values do not count.
//
//	wpf_action         update_tags, update, add or test, in any case
//	access_key         or the header X-Access-Key, which comes before the body
//	contact_id, or id  or, after both, the member id of a JSON object
//	role               with update and add: a role's slug or title
//	send_notification  with add: anything but false, 0 or empty asks for the mail
//	wait               seconds, 0 to 30, for which the sender waits for the answer
//
// Every other parameter is ignored, async among them: everything is.
//
// The last three count from a form only if the form was made for this endpoint:
// if it has a key or an action, supplies a contact_id, or has no names but these. A
// form that is a contact's record has fields of the contact in it, and one of
// them may be called role.
package webhook

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"spillway/internal/contact"
)

const (
	// MaxWait is the longest wait that a sender may ask for.
	MaxWait = 30 * time.Second
	// AllowedMethods is the Allow header of an answer to any other method.
	AllowedMethods = "GET, HEAD, POST, PUT, PATCH, OPTIONS"
	// RelayHeader is on each request that a relay sends to WP Fusion's own
	// endpoint; see package relay.
	RelayHeader = "X-Spillway-Relay"
	// maxRole is far more than WordPress's longest role title.
	maxRole = 100
)

// Hook is what an authenticated webhook asks for.
type Hook struct {
	Site string // that the access key belongs to
	// Test says that the caller only tries its address and key; ID and Intent
	// are empty then.
	Test   bool
	ID     string // as [contact.ParseID] accepts it
	Intent contact.Intent
	// Wait is how long the sender asks to wait for the pass, at most [MaxWait].
	// HasWait says that it asks at all: no wait is a wish, too.
	Wait    time.Duration
	HasWait bool
}

// Error is why a request is refused. Its texts are fixed: nothing of the
// request is in them.
type Error struct {
	Status        int // of the HTTP answer
	Code, Message string
}

func (e *Error) Error() string { return e.Message }

// request is a webhook that is being read.
type request struct {
	http  *http.Request
	query params
	body  body
	read  bool // the body was
}

// Parse returns what a request asks for, if it carries one of the keys; the key
// says of which site, which is told with an error, too, once it is known. Errors
// are *[Error]: 403 invalid_access_key before anything else and always with the
// same text, then 405 method_not_allowed, 400 missing_action, unknown_action,
// missing_contact_id, invalid_contact_id and invalid_role. Where something is
// missing that a body may have held which cannot be read, the error says so
// instead: 413 body_too_large, 415 unsupported_media_type, 400 invalid_body.
//
// HEAD and OPTIONS are tests, whatever else they say; PUT and PATCH are as good
// as POST.
func Parse(r *http.Request, keys *Keyring) (Hook, error) {
	p := request{http: r}
	p.query.readQuery(r.URL.RawQuery)
	site := p.site(keys)
	if site == "" {
		return Hook{}, &Error{
			http.StatusForbidden, "invalid_access_key",
			"The access key is missing or not accepted; send it as access_key in the URL.",
		}
	}
	if r.Header.Get(RelayHeader) != "" {
		return Hook{Site: site}, &Error{
			http.StatusLoopDetected, "relay_circle",
			"This request was sent by Spillway itself, in relay mode, and came back: the site's web server must leave requests with its header X-Spillway-Relay to WordPress.",
		}
	}
	hook, err := p.hook()
	hook.Site = site
	return hook, err
}

// hook reads what a request asks for whose key was accepted.
func (p *request) hook() (Hook, error) {
	switch p.http.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch:
	case http.MethodHead, http.MethodOptions:
		return Hook{Test: true}, nil
	default:
		return Hook{}, &Error{http.StatusMethodNotAllowed, "method_not_allowed", "Send the webhook by GET or POST."}
	}
	action, isTest, err := p.action()
	if err != nil {
		return Hook{}, err
	}
	if isTest {
		return Hook{Test: true}, nil
	}
	var hook Hook
	hook.Intent.Action = action
	if hook.ID, err = p.contactID(); err != nil {
		return Hook{}, err
	}
	beside := p.beside(action)
	// A role that came with update_tags must not be kept: it would take effect
	// when the intent merges with a later update.
	if action >= contact.Update {
		if hook.Intent.Role, err = p.role(beside); err != nil {
			return Hook{}, err
		}
	}
	hook.Intent.Notify = action == contact.Add && isWish(either(p.query.notify, beside.notify))
	hook.Wait, hook.HasWait = waitOf(either(p.query.wait, beside.wait))
	return hook, nil
}

// fromBody returns the body, read as far as it can be.
func (p *request) fromBody() *body {
	if !p.read {
		p.read = true
		p.body = readBody(p.http)
	}
	return &p.body
}

// site tells which site the request's key belongs to; empty: it has no accepted
// key. A key that was given in the query or the header is not looked for in the
// body.
func (p *request) site(keys *Keyring) string {
	key := p.query.accessKey
	if key.empty() {
		key.text = trim(p.http.Header.Get("X-Access-Key"))
	}
	if key.empty() {
		key = p.fromBody().form.accessKey
	}
	site := keys.Site(key.text)
	if site == "" && p.query.glued != "" {
		site = keys.Site(p.query.glued)
	}
	return site
}

func (p *request) action() (action contact.Action, isTest bool, err error) {
	name := p.query.action
	if name.empty() {
		name = p.fromBody().form.action
	}
	if name.empty() {
		return 0, false, p.missing("missing_action", "wpf_action")
	}
	if strings.EqualFold(name.text, "test") {
		return 0, true, nil
	}
	action, ok := contact.ParseAction(name.text)
	if !ok {
		return 0, false, invalid("unknown_action", "wpf_action is none of update_tags, update, add and test.")
	}
	return action, false, nil
}

// contactID looks into the body also when the query has an id that is no
// contact's: WP Fusion prefers a contact_id wherever it is.
func (p *request) contactID() (string, error) {
	id := either(p.query.contactID, p.query.id)
	valid, err := contact.ParseID(id.text)
	if err != nil && p.query.contactID.empty() {
		body := p.fromBody()
		id = either(either(body.form.contactID, id), either(body.form.id, body.id))
		valid, err = contact.ParseID(id.text)
	}
	switch {
	case id.empty():
		return "", p.missing("missing_contact_id", "contact_id")
	case err != nil:
		return "", invalid("invalid_contact_id",
			"The contact id is not a positive whole number of at most 18 digits without leading zeros.")
	}
	return valid, nil
}

// beside returns what a form states beside what was needed of it, if it was
// made for this endpoint. A form that is not needed is looked at if that
// is cheap: those that were made for this endpoint are small.
func (p *request) beside(action contact.Action) params {
	lacks := action >= contact.Update && p.query.role.empty() || action == contact.Add && p.query.notify.empty()
	if !p.read && lacks && isSmallForm(p.http) {
		p.fromBody()
	}
	form := &p.body.form
	made := !form.accessKey.empty() || !form.action.empty() ||
		(p.query.contactID.empty() && p.query.id.empty() && !form.contactID.empty())
	if !made && p.body.foreign {
		return params{}
	}
	return *form
}

// role refuses what cannot be a role's name in the query, and ignores it in a
// form. Whether there is such a role, and whether it may be given, is for the
// site to say.
func (p *request) role(beside params) (string, error) {
	if p.query.role.empty() {
		name, _ := beside.role.roleName()
		return name, nil
	}
	name, ok := p.query.role.roleName()
	if !ok {
		return "", invalid("invalid_role", "role is not the slug or title of a WordPress role.")
	}
	return name, nil
}

// roleName returns what may be a role's name. Blanks within it are one space,
// as in WordPress.
func (v param) roleName() (name string, ok bool) {
	if v.list || !utf8.ValidString(v.text) {
		return "", false
	}
	name = strings.Join(strings.Fields(v.text), " ")
	if utf8.RuneCountInString(name) > maxRole || strings.ContainsFunc(name, unicode.IsControl) {
		return "", false
	}
	return name, true
}

// isWish takes "0" for empty, as PHP does: a mail that was sent by mistake
// cannot be taken back.
func isWish(v param) bool {
	return !v.empty() && v.text != "0" && !strings.EqualFold(v.text, "false")
}

// waitOf takes a longer wait for the longest one, and what is no plain number
// of seconds for no wish: a webhook is worth more than its answer's moment.
func waitOf(v param) (time.Duration, bool) {
	if v.text == "" || strings.Trim(v.text, "0123456789.") != "" {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(v.text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return time.Duration(min(seconds, MaxWait.Seconds()) * float64(time.Second)), true
}

// missing is the error for a parameter that was nowhere to be found.
func (p *request) missing(code, name string) error {
	if f := p.body.fault; f != nil {
		return &Error{f.status, f.code, name + " is not in the URL, and the body " + f.because}
	}
	return invalid(code, name+" is missing: it is neither in the URL nor in the body.")
}

func invalid(code, message string) *Error {
	return &Error{http.StatusBadRequest, code, message}
}
