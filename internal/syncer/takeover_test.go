package syncer_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/sandbox"
	"spillway/internal/pulse"
	"spillway/internal/syncer"
)

// shared makes two contacts with one address, the user of which is contact 1's.
func shared(t *testing.T) *bundle {
	t.Helper()
	b := setup(t)
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org", "first_name": "Ann"}, []int{4})
	b.stand.CRM.Put("2", map[string]any{"email": "one@example.org", "first_name": "Stranger"}, []int{9})
	_, err := b.pass(t, b.parts(t, "k"), 1, contact.Add)
	require.NoError(t, err)
	return b
}

// requireAnns checks that the user is still as contact 1 has it.
func (b *bundle) requireAnns(t *testing.T) {
	t.Helper()
	users := b.stand.Site.UsersByContact("1")
	require.Len(t, users, 1)
	require.Equal(t, "Ann", users[0].Meta["first_name"])
	require.Equal(t, `a:1:{i:0;s:1:"4";}`, users[0].RawTags)
}

func TestContactTakesNoUserOfAnotherThatTheCRMHas(t *testing.T) {
	t.Parallel()
	b := shared(t)
	for _, action := range []contact.Action{contact.Update, contact.UpdateTags} {
		result, err := b.pass(t, b.parts(t, "k"), 2, action)
		require.NoError(t, err, "there is nothing to wait for")
		require.Equal(t, contact.Skipped, result.Outcome)
		require.Equal(t, []string{"other_contact:1"}, result.Notes)
		require.Equal(t, "1", result.OtherContact)
		b.requireAnns(t)
	}
}

func TestContactTakesTheUserOfOneThatIsGone(t *testing.T) {
	t.Parallel()
	for _, action := range []contact.Action{contact.Update, contact.UpdateTags} {
		b := shared(t)
		b.stand.CRM.Delete("1")
		result, err := b.pass(t, b.parts(t, "k"), 2, action)
		require.NoError(t, err)
		require.Equal(t, contact.Updated, result.Outcome)
		require.Equal(t, []string{"relinked"}, result.Notes)
		require.Empty(t, b.stand.Site.UsersByContact("1"))
		require.Equal(t, `a:1:{i:0;s:1:"9";}`, b.stand.Site.UsersByContact("2")[0].RawTags)
	}
}

// A CRM may go on answering for a contact that was merged, with the record of the
// one that is left.
func TestContactTakesTheUserOfOneThatWasMergedIntoIt(t *testing.T) {
	t.Parallel()
	for into, taken := range map[string]bool{"2": true, "3": false} {
		b := shared(t)
		parts := b.parts(t, "k")
		parts.CRM = faulty{parts.CRM, func() error { return &pulse.Rejected{Other: into} }}
		result, err := b.pass(t, parts, 2, contact.Update)
		if !taken {
			require.Error(t, err)
			b.requireAnns(t)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, []string{"relinked"}, result.Notes)
	}
}

// faulty spoils the question for contact 1.
type faulty struct {
	syncer.CRM
	spoil func() error
}

func (f faulty) Contact(ctx context.Context, id string) (map[string]any, error) {
	if id == "1" {
		if err := f.spoil(); err != nil {
			return nil, err
		}
	}
	return f.CRM.Contact(ctx, id)
}

// Only a definite answer says that a contact is gone.
func TestUserStaysWhileTheCRMDoesNotSayThatItsContactIsGone(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]sandbox.Fault{
		"refused token": {Status: http.StatusUnauthorized},
		"busy":          {Status: http.StatusTooManyRequests},
		"away":          {Status: http.StatusServiceUnavailable},
		"a page":        {Mode: sandbox.FaultGarbage},
		"cut off":       {Mode: sandbox.FaultReset},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := shared(t)
			fault.Route, fault.Count = "contact", 9
			b.stand.CRM.Delete("1")
			parts := b.parts(t, "k")
			parts.CRM = faulty{parts.CRM, func() error { return b.stand.CRM.Fail(fault) }}
			for _, action := range []contact.Action{contact.Update, contact.UpdateTags} {
				_, err := b.pass(t, parts, 2, action)
				require.Error(t, err)
				b.requireAnns(t)
				b.stand.CRM.ClearFaults()
			}
		})
	}
}
