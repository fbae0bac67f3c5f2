package admin_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/admin/comparisons"
	"spillway/internal/contact"
)

func TestLastComparisonIsShown(t *testing.T) {
	b := setup(t, "secret")
	status, body := call(t, http.MethodGet, b.url+"/api/v1/reconcile", "secret")
	require.Equal(t, http.StatusNotFound, status)
	require.Contains(t, body, `"not_compared"`)
	_, body = call(t, http.MethodGet, b.url+"/comparison", "secret")
	require.Contains(t, body, "Nothing has been compared yet")
	status, _ = call(t, http.MethodGet, b.url+"/api/v1/reconcile", "")
	require.Equal(t, http.StatusUnauthorized, status)

	store, now := comparisons.New(b.redis.Client()), time.Now().UTC().Truncate(time.Second)
	last := comparisons.Comparison{
		Site: contact.DefaultSite, By: comparisons.BySchedule, Began: now.Add(-time.Minute), Ended: now, Tags: 3, Contacts: 50, Users: 49, Calls: 12,
		Differences: map[string]int{"tags_missing": 1}, Examples: []comparisons.Example{{Contact: "17", Kind: "tags_missing", Users: []int64{4}}},
	}
	require.NoError(t, store.Write(t.Context(), last))
	last.Differences = map[string]int{"tags_missing": 2}
	require.NoError(t, store.Write(t.Context(), last))
	require.NoError(t, store.Fail(t.Context(), contact.DefaultSite, now, "the CRM is <away>"))
	status, body = call(t, http.MethodGet, b.url+"/api/v1/reconcile", "secret")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"differences":{"tags_missing":2},"before":{"tags_missing":1}`)
	status, body = call(t, http.MethodGet, b.url+"/comparison", "secret")
	require.Equal(t, http.StatusOK, status)
	for _, shown := range []string{"2 contacts differ", "more than before", `<a href="/contacts/17">17</a>`, "the CRM is &lt;away&gt;", "spillway reconcile --repair"} {
		require.Contains(t, body, shown)
	}
}
