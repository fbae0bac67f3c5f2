package admin_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/admin/observations"
	"spillway/internal/contact"
)

func TestWhatPassesWouldDoIsShown(t *testing.T) {
	b := setup(t, "secret")
	status, _ := call(t, http.MethodGet, b.url+"/api/v1/observations", "")
	require.Equal(t, http.StatusUnauthorized, status)
	_, body := call(t, http.MethodGet, b.url+"/observations", "secret")
	require.Contains(t, body, "Nothing has been observed yet")

	store := observations.New(b.redis.Client(), contact.DefaultSite)
	require.NoError(t, store.Note(t.Context(), "17", contact.Result{
		Outcome: contact.Updated, UserID: 4, Notes: []string{"unticked:box"},
		Observed: &contact.Observation{Keys: []string{"<box>"}, TagsAdded: []string{"24"}},
	}))
	require.NoError(t, store.Note(t.Context(), "18", contact.Result{Outcome: contact.Parking, Observed: &contact.Observation{Code: "no_email"}}))
	status, body = call(t, http.MethodGet, b.url+"/api/v1/observations", "secret")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"outcomes":{"parked":1,"updated":1}`)
	status, body = call(t, http.MethodGet, b.url+"/observations", "secret")
	require.Equal(t, http.StatusOK, status)
	for _, shown := range []string{"2 contacts observed", `<a href="/contacts/17">17</a>`, "&lt;box&gt;", "no_email", "WP Fusion leaves ticked"} {
		require.Contains(t, body, shown)
	}
}
