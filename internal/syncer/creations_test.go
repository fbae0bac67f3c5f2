package syncer_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/syncer"
)

// ledger is a limit of one creation.
type ledger struct {
	open, made, held map[string]bool
	ended            []string
}

func newLedger() *ledger {
	return &ledger{open: map[string]bool{}, made: map[string]bool{}, held: map[string]bool{}}
}

func (l *ledger) Reserve(_ context.Context, id string) (bool, error) {
	if l.open[id] || len(l.made)+len(l.open) == 0 {
		l.open[id] = true
		return true, nil
	}
	return false, nil
}

func (l *ledger) Made(_ context.Context, id string, confirmed bool) error {
	l.made[id], l.open[id] = true, confirmed
	return nil
}

func (l *ledger) Ended(_ context.Context, id string) error {
	delete(l.open, id)
	l.ended = append(l.ended, id)
	return nil
}

func (l *ledger) Hold(_ context.Context, id string) error { l.held[id] = true; return nil }

// answers is a site that answers by the action.
type answers struct {
	by   map[string]contact.Result
	err  error
	seen []string
}

func (a *answers) Store(_ context.Context, change contact.Change) (contact.Result, error) {
	a.seen = append(a.seen, change.Action)
	return a.by[change.Action], a.err
}

func TestCreationOverTheLimitIsHeldBackAndExistingUsersAreStored(t *testing.T) {
	t.Parallel()
	l := newLedger()
	site := &answers{by: map[string]contact.Result{"add": {Outcome: contact.Created}, "update": {Outcome: contact.Skipped}}}
	limited := syncer.Limit(site, l)
	add := func(id string) (contact.Result, error) {
		return limited.Store(t.Context(), contact.Change{ContactID: id, Action: "add", RequestID: "r"})
	}
	result, err := add("1")
	require.NoError(t, err)
	require.Equal(t, contact.Created, result.Outcome)
	_, err = add("1")
	require.NoError(t, err, "a repetition has its place")

	_, err = add("2")
	judged := syncer.Judge(err, 0)
	require.Equal(t, syncer.Park, judged.Verdict)
	require.Equal(t, "creation_limit", judged.Code)
	require.True(t, l.held["2"])
	require.Equal(t, []string{"add", "add", "update"}, site.seen, "the site was not asked to create")

	site.by["update"] = contact.Result{Outcome: contact.Updated, UserID: 7}
	result, err = add("3")
	require.NoError(t, err)
	require.EqualValues(t, 7, result.UserID)

	site.by["update"] = contact.Result{Outcome: contact.Skipped, OtherContact: "9"}
	site.by["add"] = contact.Result{Outcome: contact.Updated, UserID: 8}
	result, err = add("4")
	require.NoError(t, err)
	require.EqualValues(t, 8, result.UserID, "an add takes over another contact's user")

	_, err = limited.Store(t.Context(), contact.Change{ContactID: "1", Action: "confirm", RequestID: "r"})
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, l.ended)
	_, err = limited.Store(t.Context(), contact.Change{ContactID: "1", Action: "confirm", AppliedTags: []string{"5"}})
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, l.ended)
}

// doubted is a refusal that counts once it was met so often, as the site's client
// has them: those that count at once included.
type doubted struct {
	refusal
	confirmed int
}

func (d doubted) Confirmed() int { return d.confirmed }

func TestPlaceIsKeptWhileNobodyKnowsWhatTheSiteDid(t *testing.T) {
	t.Parallel()
	l := newLedger()
	site := &answers{err: errCut}
	limited := syncer.Limit(site, l)
	_, err := limited.Store(t.Context(), contact.Change{ContactID: "1", Action: "add"})
	require.ErrorIs(t, err, errCut)
	require.True(t, l.open["1"])

	site.err = doubted{refusal("site_fatal"), 3}
	_, err = limited.Store(t.Context(), contact.Change{ContactID: "1", Action: "add"})
	require.Error(t, err)
	require.True(t, l.open["1"], "it died, perhaps after it had created the user")

	site.err = doubted{refusal("no_email"), 1}
	_, err = limited.Store(t.Context(), contact.Change{ContactID: "1", Action: "add"})
	require.Error(t, err)
	require.False(t, l.open["1"], "the site refused: there is no user")
	require.Equal(t, syncer.Park, syncer.Judge(err, 0).Verdict)
}
