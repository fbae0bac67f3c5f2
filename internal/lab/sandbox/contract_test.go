package sandbox_test

import (
	"net/http/httptest"
	"testing"

	"spillway/internal/lab/sandbox"
	"spillway/internal/lab/sitetest"
)

// harness shows the sandbox's site to the contract suite.
type harness struct{ *sandbox.Site }

var _ sitetest.Harness = harness{}

func TestSiteKeepsTheContract(t *testing.T) {
	t.Parallel()
	sitetest.Run(t, func(t *testing.T) sitetest.Harness {
		site := sandbox.NewSite(sandbox.SiteOptions{StartCost: -1, ContactCost: -1})
		server := httptest.NewServer(site)
		t.Cleanup(server.Close)
		site.SetURL(server.URL)
		return harness{site}
	})
}

func (h harness) UserByID(id int64) (sitetest.User, bool) {
	user, ok := h.Site.UserByID(id)
	return sitetest.User(user), ok
}

func (h harness) UsersByContact(contactID string) []sitetest.User {
	return storedAll(h.Site.UsersByContact(contactID))
}

func (h harness) UsersByEmail(email string) []sitetest.User {
	return storedAll(h.Site.UsersByEmail(email))
}

func (h harness) CreateUser(user sitetest.NewUser) int64 {
	return h.Site.CreateUser(sandbox.NewUser(user))
}

func storedAll(users []sandbox.User) []sitetest.User {
	var all []sitetest.User
	for _, user := range users {
		all = append(all, sitetest.User(user))
	}
	return all
}
