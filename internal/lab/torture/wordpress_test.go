package torture

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
)

// wordPressPlace is a real WordPress with the connector plugin.
type wordPressPlace struct{ site *wptest.Site }

func (p wordPressPlace) users(contact string) (ids []int64, login string) {
	for _, user := range p.site.UsersByContact(contact) {
		ids, login = append(ids, user.ID), user.Login
	}
	return ids, login
}

func (p wordPressPlace) usersByEmail(email string) int { return len(p.site.UsersByEmail(email)) }
func (p wordPressPlace) passwordWorks(login, password string) bool {
	return p.site.PasswordWorks(login, password)
}
func (p wordPressPlace) mails(to string) int { return len(p.site.Mails(to)) }

// TestWorkerKilledInMidCreationOfAWordPressUser is the delicate part of
// [TestWorkerKilledBetweenAnyTwoStepsOfACreation] with the real plugin: the
// user exists and nobody knows; the CRM has the password and nobody knows; the
// site has the confirmation and nobody knows.
func TestWorkerKilledInMidCreationOfAWordPressUser(t *testing.T) {
	t.Parallel()
	site := wptest.Start(t, wptest.Options{})
	r := newRig(t)
	target, err := url.Parse(site.URL())
	require.NoError(t, err)
	r.door = &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(target) // and so its Host
		},
		ErrorLog:     quiet(),
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	r.place = wordPressPlace{site}
	user, password := site.Credentials()
	account := []string{"SPILLWAY_SITE_USER=" + user, "SPILLWAY_SITE_APP_PASSWORD=" + password}
	all := []*trap{
		{step: storing, after: true},
		{step: returning, after: false},
		{step: returning, after: true},
		{step: confirming, after: true},
	}
	var ids []string
	for i, tr := range all {
		tr.contact = strconv.Itoa(100 + i)
		ids = append(ids, tr.contact)
		r.killAt(tr, account...)
	}
	last := r.worker(nil, account...)
	r.idle()
	for _, tr := range all {
		r.requireCreatedOnce(tr.contact, tr.String())
		require.Len(t, first(r.passwords(tr.contact)), 1, "killed %s: every return carries the same password", tr)
	}
	require.NoError(t, last.terminate())
	r.requireNoTrace(ids...)
}
