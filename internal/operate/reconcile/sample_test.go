package reconcile_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/sandbox"
	"spillway/internal/operate/reconcile"
	"spillway/internal/pulse"
	"spillway/internal/site"
	"spillway/internal/syncer"
)

func TestFieldsOfASampleAreCompared(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const users, differ = 300, 60
	b.agree(users, 11)
	for id := 1; id <= users; id++ {
		record := map[string]any{"email": fmt.Sprintf("c%d@example.com", id), "first_name": ""}
		if id%5 == 0 {
			record["first_name"] = "New"
		}
		if id%10 == 0 {
			record["company"] = "Lee"
		}
		b.stand.CRM.Put(strconv.Itoa(id), record, tagsOf(id, 11))
	}
	// One that the CRM does not have, and one whose pass is still to come.
	b.user(9001, "9001", nil)
	_, err := b.contacts.Resync(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: "7"}, contact.Intent{Action: contact.Update})
	require.NoError(t, err)
	client, err := site.New(site.Options{URL: b.stand.SiteURL, User: "spillway", AppPassword: "an app password", Observing: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	crm, err := pulse.New(pulse.Options{URL: b.stand.CRMURL, Tokens: pulse.Fixed("a-token")})
	require.NoError(t, err)
	fields, err := contact.ParseFieldMap("user_email=email,first_name=first_name,company=company")
	require.NoError(t, err)
	sample := func(percent float64) (*reconcile.FieldsResult, int64) {
		t.Helper()
		before := b.stand.CRM.Stats().Calls["contact"]
		result := b.run(func(o *reconcile.Options) {
			o.Fields, o.FieldsPercent = syncer.NewComparer(crm, client, syncer.Options{Fields: fields}), percent
		})
		require.Zero(t, result.Total(), "no tags differ")
		return result.Fields, b.stand.CRM.Stats().Calls["contact"] - before
	}
	stored := b.stand.Site.Users()

	all, calls := sample(100)
	require.EqualValues(t, users, calls, "one for each, but for the one whose pass is to come")
	require.Equal(t, users+1, all.Users)
	require.Equal(t, users-1, all.Sampled)
	require.Equal(t, 2, all.LeftOut)
	require.Equal(t, differ, all.Differ)
	require.Len(t, all.Keys, 2)
	require.Equal(t, "first_name", all.Keys[0].Key)
	require.Equal(t, differ, all.Keys[0].Differ)
	require.Equal(t, differ/2, all.Keys[1].Differ)

	require.NoError(t, b.stand.CRM.Fail(sandbox.Fault{Status: http.StatusUnprocessableEntity, Route: "contact"}))
	refused, _ := sample(100)
	require.Equal(t, 3, refused.LeftOut, "one whose record the CRM refuses ends no comparison")

	some, calls := sample(25)
	require.InDelta(t, some.Sampled+some.LeftOut, calls, 1, "one for each, but for the one whose pass is to come")
	require.InDelta(t, users/4, some.Sampled, 45, "six times the deviation")
	require.GreaterOrEqual(t, some.Estimate, some.Least)
	require.LessOrEqual(t, some.Estimate, some.Most)
	require.Less(t, some.Most-some.Least, users)
	require.Equal(t, stored, b.stand.Site.Users(), "nothing is written")
}
