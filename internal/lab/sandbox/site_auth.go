package sandbox

import (
	"net/http"
	"strings"
)

// Credentials are the user name and application password of the account that
// may store users.
func (s *Site) Credentials() (user, appPassword string) {
	return s.options.User, s.options.AppPassword
}

// WeakCredentials belong to a subscriber.
func (s *Site) WeakCredentials() (user, appPassword string) { return s.weak.user, s.weak.password }

// refuse turns away the callers that the connector would turn away.
func (s *Site) refuse(r *http.Request) (answer, bool) {
	user, password, given := credentials(r)
	password = onlyAlphanumeric(password)
	var a answer
	switch {
	case !given:
		a = restError(http.StatusUnauthorized, "spillway_no_credentials", "No Authorization header arrived.")
	case strings.EqualFold(user, s.options.User) && (password == onlyAlphanumeric(s.options.AppPassword) || s.isExchanged(password)):
		return answer{}, false
	case strings.EqualFold(user, s.weak.user) && password == s.weak.password:
		a = restError(http.StatusForbidden, "spillway_no_right", "The user lacks the capability spillway_store_contacts; give it the role Spillway.")
	case strings.EqualFold(user, s.options.User), strings.EqualFold(user, s.weak.user):
		a = restError(http.StatusUnauthorized, "spillway_wrong_password", "It is no application password of that user.")
	default:
		a = restError(http.StatusUnauthorized, "spillway_unknown_user", "No user has that name.")
	}
	s.count(func(stats *SiteStats) { stats.Refused++ })
	return a, true
}

// credentials reads the connector's own header first: the other one may be for
// the web server.
func credentials(r *http.Request) (user, password string, given bool) {
	if own := r.Header.Get("X-Spillway-Authorization"); own != "" {
		r = &http.Request{Header: http.Header{"Authorization": {own}}}
	}
	return r.BasicAuth()
}

// onlyAlphanumeric drops what WordPress ignores in application passwords: it
// shows them in groups of four.
func onlyAlphanumeric(password string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, password)
}
