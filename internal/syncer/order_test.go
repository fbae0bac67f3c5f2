package syncer_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/sandbox"
	"spillway/internal/site"
	"spillway/internal/syncer"
)

// recorder keeps what a pass sends to the site.
type recorder struct {
	syncer.Site
	sent []contact.Change
}

func (r *recorder) Store(ctx context.Context, change contact.Change) (contact.Result, error) {
	r.sent = append(r.sent, change)
	return r.Site.Store(ctx, change)
}

func TestAllThatAPassStoresHasItsNumber(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, []int{4})
	b.stand.CRM.Put("2", map[string]any{"email": "one@example.org"}, []int{9})
	for _, pass := range []struct {
		id      int
		action  contact.Action
		numbers []int64
	}{
		{1, contact.Add, []int64{1, 0}}, // and the confirmation, which needs none
		{1, contact.Update, []int64{2}},
		{2, contact.UpdateTags, []int64{3, 3}}, // by id, then by address, whose user is contact 1's
		{2, contact.Update, []int64{4, 4}},     // and again once contact 1 is gone
	} {
		sent := &recorder{Site: b.site}
		parts := b.parts(t, "k")
		parts.Site = sent
		if pass.action == contact.Update && pass.id == 2 {
			b.stand.CRM.Delete("1")
		}
		_, err := b.pass(t, parts, pass.id, pass.action)
		require.NoError(t, err)
		var numbers []int64
		for _, change := range sent.sent {
			numbers = append(numbers, change.AsOf)
		}
		require.Equal(t, pass.numbers, numbers, "%s", pass.action)
	}
}

func TestRequestThatIsCarriedOutLateChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org", "first_name": "Ann"}, []int{4})
	_, err := b.pass(t, b.parts(t, "k"), 1, contact.Add)
	require.NoError(t, err)

	user, password := b.stand.Site.Credentials()
	late, err := site.New(site.Options{URL: b.stand.SiteURL, User: user, AppPassword: password})
	require.NoError(t, err)
	require.NoError(t, b.stand.Site.Inject(sandbox.Fault{Mode: sandbox.FaultLate, Route: "contacts"}))
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org", "first_name": "Bob"}, []int{5})
	parts := b.parts(t, "k")
	parts.Site = late
	given, pass := make(chan error, 1), b.prepared(t, parts, 1, contact.Update)
	go func() {
		_, err := pass()
		given <- err
	}()
	require.Eventually(t, func() bool { return b.stand.Site.Stats().Late == 1 }, 10*time.Second, time.Millisecond)

	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org", "first_name": "Cem"}, []int{6})
	_, err = b.pass(t, b.parts(t, "k"), 1, contact.Update)
	require.NoError(t, err)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_ = late.Close(over) // gives the request up
	require.Error(t, <-given)
	require.Eventually(t, func() bool { return b.stand.Site.Stats().Late == 0 }, 10*time.Second, time.Millisecond)

	require.EqualValues(t, 1, b.stand.Site.Stats().Superseded)
	stored := b.stand.Site.UsersByContact("1")[0]
	require.Equal(t, "Cem", stored.Meta["first_name"])
	require.Equal(t, `a:1:{i:0;s:1:"6";}`, stored.RawTags)
}
