package relay_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/sandbox"
	"spillway/internal/lab/wptest"
	"spillway/internal/relay"
	"spillway/internal/syncer"
)

// What WordPress makes of the endpoint's answers is not in anybody's hands but
// WordPress's own.
func TestARealWordPressAnswers(t *testing.T) {
	t.Parallel()
	stand, err := sandbox.Serve(sandbox.Options{CRM: sandbox.CRMOptions{Token: "token"}, Site: sandbox.SiteOptions{User: "u", AppPassword: "p"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	name, source := wptest.FusionEndpoint(stand.CRMURL, "token", accessKey)
	site := wptest.Start(t, wptest.Options{Plugins: map[string]string{name: source}})
	c := client(t, site.URL(), nil)
	require.NoError(t, c.Test(t.Context()))
	err = client(t, site.URL(), func(o *relay.Options) { o.AccessKey = "another-key" }).Test(t.Context())
	require.ErrorContains(t, err, "relay_key")

	store := func(id, action string) (contact.Result, syncer.Judgement) {
		result, err := c.Store(t.Context(), contact.Change{ContactID: id, Action: action, Role: "customer", Notify: true})
		if err != nil {
			return result, syncer.Judge(err, 0)
		}
		return result, syncer.Judgement{}
	}
	put := func(id, email, company string, tags ...int) {
		stand.CRM.Put(id, map[string]any{"email": email, "company": company}, tags)
	}
	put("1", "one@example.com", "First", 4)
	result, _ := store("1", "update")
	require.Equal(t, contact.Skipped, result.Outcome)
	result, _ = store("1", "add")
	require.Equal(t, contact.Created, result.Outcome)
	require.Empty(t, result.Notes, "the page says when the user was registered")
	require.Equal(t, "customer", result.Role)
	require.Equal(t, result.UserID, site.UsersByContact("1")[0].ID)
	require.Len(t, site.Mails("one@example.com"), 1)
	put("1", "one@example.com", "Second", 4, 5)
	site.PHP(`global $wpdb; $wpdb->query( "UPDATE $wpdb->users SET user_registered = '2020-01-01 00:00:00'" ); wp_cache_flush();`)
	for _, action := range []string{"add", "update", "update_tags"} {
		result, failure := store("1", action)
		require.Equal(t, contact.Updated, result.Outcome, "%s: %+v", action, failure)
	}
	require.Equal(t, "Second", site.UsersByContact("1")[0].Meta["billing_company"])

	put("2", "", "No address")
	_, failure := store("2", "add")
	require.Equal(t, "no_email", failure.Code)
	_, failure = store("2", "add")
	require.Equal(t, syncer.CodeBusy, failure.Code, "its lock stays after a failure")

	// A CRM that answers a page: the tags are gone, and Success is said.
	require.NoError(t, stand.CRM.Fail(sandbox.Fault{Mode: sandbox.FaultGarbage, Count: 2}))
	_, failure = store("1", "update")
	require.Equal(t, syncer.TryAgain, failure.Verdict)
	require.Equal(t, "a:0:{}", site.UsersByContact("1")[0].RawTags)
	_, failure = store("1", "update")
	require.Empty(t, failure)
	require.Equal(t, []string{"4", "5"}, site.UsersByContact("1")[0].Meta["pulsetech_tags"])
	require.NotContains(t, site.EndpointCalls(), "overlap")
}
