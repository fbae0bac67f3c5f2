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

// refuse turns away whom WordPress would.
func (s *Site) refuse(r *http.Request) (answer, bool) {
	user, password, given := r.BasicAuth()
	password = onlyAlphanumeric(password)
	forbidden := func(status int) answer {
		return restError(status, "rest_forbidden", "Sorry, you are not allowed to do that.")
	}
	var a answer
	switch {
	case !given:
		a = forbidden(http.StatusUnauthorized)
	case strings.EqualFold(user, s.options.User) && password == onlyAlphanumeric(s.options.AppPassword):
		return answer{}, false
	case strings.EqualFold(user, s.weak.user) && password == s.weak.password:
		a = forbidden(http.StatusForbidden)
	case strings.EqualFold(user, s.options.User), strings.EqualFold(user, s.weak.user):
		a = restError(http.StatusUnauthorized, "incorrect_password", "The provided password is an invalid application password.")
	default:
		a = restError(http.StatusUnauthorized, "invalid_username", "Unknown username. Check again or try your email address.")
	}
	s.count(func(stats *SiteStats) { stats.Refused++ })
	return a, true
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
