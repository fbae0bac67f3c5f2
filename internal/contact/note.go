package contact

import "strings"

// ExplainNote says in words what a note of a [Result] means: a code, and after a
// colon what it is about, such as "field_kept:user_url". A code that is not
// known is returned as it is.
func ExplainNote(note string) string {
	code, about, _ := strings.Cut(note, ":")
	switch code {
	case "role_not_allowed":
		return "the role that was asked for may not be given; see SPILLWAY_ROLES_ALLOWED"
	case "role_unknown":
		return "the site has no such role"
	case "role_kept":
		return "the user is staff and keeps the role"
	case "email_kept":
		return "the site keeps its e-mail address: the CRM's is not valid or another user's, or the user is staff"
	case "login_changed":
		return "the login was changed to what WordPress accepts"
	case "password_changed":
		return "the user has a password of their own meanwhile; none was returned"
	case "mail_failed":
		return "WordPress could not send the login details"
	case "field_kept":
		return "the site keeps its value of " + about + ": the CRM's could not be stored"
	case "field_refused":
		return "no field may write " + about
	case "other_contact":
		return "the user with this address belongs to contact " + about + ", which the CRM has"
	case "contact_deleted":
		return "the CRM has no such contact any more; the user's tags were cleared"
	case "relay_queued":
		return "WP Fusion put the contact into a queue of its own, which WP-Cron works off"
	case "relay_created_or_linked":
		return "WP Fusion does not say whether it created the user or found one"
	case "unticked":
		return "the CRM's box of " + about + " is not ticked, which WP Fusion leaves ticked on the site"
	case "list":
		return "the value of " + about + " is the same, as a list in the one place and a text in the other, or split elsewhere"
	case "cleaned":
		return "the value of " + about + " differs in line breaks, blanks, backslashes or HTML alone, which WP Fusion takes out"
	case "relinked":
		return "the user belonged to another contact before"
	}
	return note
}
