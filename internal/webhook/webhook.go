// Package webhook understands what a CRM sends: an action for a contact,
// authenticated by an access key, in the form that WP Fusion's endpoint takes.
//
// It guarantees: whoever lacks an accepted key learns nothing about the rest of
// a request; a [Hook] that it returns names one contact by its only spelling
// and asks for a known action; no request makes it panic or read more than
// [MaxBody] bytes of body. It keeps nothing of a body but the parameters below:
// fields, tags and addresses that a CRM sends along are dropped unread.
//
// A request states its parameters in the form body or in the query, the form's
// coming first. As in PHP the last of several parameters of one name counts,
// and name[] makes a list, which is no value of any of them. An empty parameter
// is an absent one.
//
//	wpf_action         update_tags, update, add or test, in any case
//	access_key         or the header X-Access-Key, which comes last
//	contact_id, or id  or, after both, the member id of a JSON object
//	role               with update and add: a role's slug or title
//	send_notification  with add: anything but false, 0 or empty asks for the mail
//	wait               seconds, 0 to 30, for which the sender waits for the answer
//
// Every other parameter is ignored, async among them: everything is.
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

// MaxWait is the longest wait that a sender may ask for.
const MaxWait = 30 * time.Second

// maxRole is far more than WordPress's longest role title.
const maxRole = 100

// Hook is what an authenticated webhook asks for.
type Hook struct {
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

// Hook returns what the request asks for, if it carries one of the keys.
// Errors are *[Error]: 403 invalid_access_key before anything else, then 400
// missing_action, unknown_action, missing_contact_id, invalid_contact_id and
// invalid_role; and 400 invalid_body where something is missing that a body
// which cannot be read as its type may have held. A body that is not needed may
// be as malformed as it likes.
func (r *Request) Hook(keys *Keyring) (Hook, error) {
	if !keys.Accepts(r.accessKey()) {
		return Hook{}, &Error{http.StatusForbidden, "invalid_access_key", "The access key is missing or not accepted."}
	}
	action, isTest, err := r.action()
	if err != nil {
		return Hook{}, err
	}
	if isTest {
		return Hook{Test: true}, nil
	}
	id, err := r.contactID()
	if err != nil {
		return Hook{}, err
	}
	intent := contact.Intent{Action: action}
	// A role that came with update_tags must not be kept: it would take effect
	// when the intent merges with a later update.
	if action >= contact.Update {
		if intent.Role, err = r.role(); err != nil {
			return Hook{}, err
		}
	}
	if action == contact.Add {
		intent.Notify = r.notify()
	}
	hook := Hook{ID: id, Intent: intent}
	hook.Wait, hook.HasWait = r.wait()
	return hook, nil
}

func (r *Request) accessKey() string {
	if key := either(r.form.accessKey, r.query.accessKey); !key.empty() {
		return key.text
	}
	return r.headerKey
}

func (r *Request) action() (action contact.Action, isTest bool, err error) {
	name := either(r.form.action, r.query.action)
	if name.empty() {
		return 0, false, r.missing("missing_action", "wpf_action is missing.")
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

func (r *Request) contactID() (string, error) {
	id := either(r.form.contactID, r.query.contactID)
	if id.empty() {
		id = either(r.form.id, r.query.id)
	}
	if id.empty() && r.json != nil {
		text, err := jsonID(r.json)
		if err != nil {
			return "", err
		}
		id.text = text
	}
	if id.empty() {
		return "", r.missing("missing_contact_id", "The contact id is missing; send it as contact_id.")
	}
	valid, err := contact.ParseID(id.text)
	if err != nil {
		return "", invalid("invalid_contact_id",
			"The contact id is not a positive whole number of at most 18 digits without leading zeros.")
	}
	return valid, nil
}

// role refuses what cannot be a role's name. Whether there is such a role, and
// whether it may be given, is for the site to say.
func (r *Request) role() (string, error) {
	given := either(r.form.role, r.query.role)
	role := strings.TrimSpace(given.text)
	if given.list || !utf8.ValidString(role) || utf8.RuneCountInString(role) > maxRole ||
		strings.ContainsFunc(role, unicode.IsControl) {
		return "", invalid("invalid_role", "role is not the slug or title of a WordPress role.")
	}
	return role, nil
}

// notify takes "0" for empty, as PHP does: a mail that was sent by mistake
// cannot be taken back.
func (r *Request) notify() bool {
	wish := either(r.form.notify, r.query.notify)
	return !wish.empty() && wish.text != "0" && !strings.EqualFold(wish.text, "false")
}

// wait takes a longer wait for the longest one, and what is no plain number of
// seconds for no wish: a webhook is worth more than its answer's moment.
func (r *Request) wait() (time.Duration, bool) {
	wish := strings.TrimSpace(either(r.form.wait, r.query.wait).text)
	if strings.Trim(wish, "0123456789.") != "" {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(wish, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return time.Duration(min(seconds, MaxWait.Seconds()) * float64(time.Second)), true
}

// missing is the error for a parameter that was nowhere to be found.
func (r *Request) missing(code, message string) error {
	if r.broken {
		return invalidBody()
	}
	return invalid(code, message)
}

func invalid(code, message string) *Error {
	return &Error{http.StatusBadRequest, code, message}
}

func invalidBody() *Error {
	return invalid("invalid_body", "The body broke off or is not what its Content-Type says.")
}
