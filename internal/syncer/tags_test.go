package syncer_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/sandbox"
	"spillway/internal/syncer"
)

// tag is a tag whose id is known.
type tag string

func (t tag) ID(context.Context) (string, error) { return string(t), nil }

// calls counts the calls of the CRM that changed tags.
func (b *bundle) calls() (applied, removed int64) {
	calls := b.stand.CRM.Stats().Calls
	return calls["tag_apply"], calls["untag"]
}

// requireTags checks the tags of contact 1 at both ends, in any order.
func (b *bundle) requireTags(t *testing.T, tags ...int) {
	t.Helper()
	stored := []string{}
	for _, tag := range tags {
		stored = append(stored, strconv.Itoa(tag))
	}
	require.ElementsMatch(t, tags, b.stand.CRM.Tags("1"), "in the CRM")
	users := b.stand.Site.UsersByContact("1")
	require.Len(t, users, 1)
	require.ElementsMatch(t, stored, users[0].Meta["pulsetech_tags"], "on the site")
}

// requireSettled runs another pass, which must find nothing to do.
func (b *bundle) requireSettled(t *testing.T) {
	t.Helper()
	applied, removed := b.calls()
	result, err := b.pass(t, b.parts(t, "k"), 1, contact.UpdateTags)
	require.NoError(t, err)
	require.Equal(t, contact.Unchanged, result.Outcome)
	require.Empty(t, result.AppliedTags)
	require.Empty(t, result.RemovedTags)
	nowApplied, nowRemoved := b.calls()
	require.Equal(t, [2]int64{applied, removed}, [2]int64{nowApplied, nowRemoved}, "what the CRM knows it is not told again")
}

func TestTagsOfAnEnrolmentReachTheCRMOnce(t *testing.T) {
	t.Parallel()
	for _, action := range []contact.Action{contact.UpdateTags, contact.Update, contact.Add} {
		t.Run(action.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.stand.Site.Enrol("24", []string{"99", "100"}, []string{"5"})
			b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, []int{5, 7})
			_, err := b.pass(t, b.parts(t, "k"), 1, contact.Add)
			require.NoError(t, err)
			b.requireTags(t, 5, 7)
			b.requireSettled(t)

			b.stand.CRM.Put("1", nil, []int{5, 7, 24})
			_, err = b.pass(t, b.parts(t, "k"), 1, action)
			require.NoError(t, err)
			b.requireTags(t, 7, 24, 99, 100)
			applied, removed := b.calls()
			require.EqualValues(t, 1, applied)
			require.EqualValues(t, 1, removed)
			// The CRM's webhook about these tags leads to a pass.
			b.requireSettled(t)
		})
	}
}

func TestPassCutOffWhileTheCRMIsToldOfTagsIsMadeGoodByTheNext(t *testing.T) {
	t.Parallel()
	for _, next := range []contact.Action{contact.UpdateTags, contact.Update, contact.Add} {
		for _, after := range []bool{false, true} {
			for at := 1; at <= 4; at++ { // store, apply, remove, confirm
				t.Run(fmt.Sprint(next, at, after), func(t *testing.T) {
					t.Parallel()
					b := setup(t)
					b.stand.Site.Enrol("24", []string{"99"}, []string{"5"})
					b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, []int{5, 7})
					_, err := b.pass(t, b.parts(t, "k"), 1, contact.Add)
					require.NoError(t, err)
					b.stand.CRM.Put("1", nil, []int{5, 7, 24})
					parts := b.parts(t, "k")
					parts.at, parts.after = at, after
					_, err = b.pass(t, parts, 1, contact.Update)
					require.ErrorIs(t, err, errCut)
					_, err = b.pass(t, b.parts(t, "k"), 1, next)
					require.NoError(t, err)
					b.requireTags(t, 7, 24, 99)
					b.requireSettled(t)
				})
			}
		}
	}
}

func TestTagThatTheCRMHasMeanwhileIsNotToldAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stand.Site.Enrol("24", []string{"99"}, nil)
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, []int{24})
	parts := b.parts(t, "k")
	parts.at, parts.after = 5, true // seal, store, return, apply, confirm
	_, err := b.pass(t, parts, 1, contact.Add)
	require.ErrorIs(t, err, errCut)
	// Confirmed, although the answer was lost: a person takes the tag away, and
	// the enrolment for which the site gave it.
	b.stand.CRM.Put("1", nil, []int{7})
	_, err = b.pass(t, b.parts(t, "k"), 1, contact.UpdateTags)
	require.NoError(t, err)
	b.requireTags(t, 7)
	applied, _ := b.calls()
	require.EqualValues(t, 1, applied)
}

// ordered notes in which order the CRM is written to.
type ordered struct {
	syncer.CRM
	done []string
}

func (o *ordered) Update(ctx context.Context, id string, fields map[string]string) error {
	o.done = append(o.done, "update")
	return o.CRM.Update(ctx, id, fields)
}

func (o *ordered) ApplyTags(ctx context.Context, id string, tags []string) error {
	if len(tags) > 0 {
		o.done = append(o.done, fmt.Sprint("apply ", tags))
	}
	return o.CRM.ApplyTags(ctx, id, tags)
}

func TestCreatedTagFollowsThePasswordOncePerCreation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.createdTag = tag("55")
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, []int{4})
	order := &ordered{CRM: b.crm}
	parts := b.parts(t, "k")
	parts.CRM = order
	result, err := b.pass(t, parts, 1, contact.Add)
	require.NoError(t, err)
	require.True(t, result.PasswordReturned)
	require.Equal(t, []string{"update", "apply [55]"}, order.done)
	b.requireTags(t, 4, 55)
	b.requireRight(t)
	b.requireSettled(t)

	// No tag for a user who was there, and none again after it was taken away.
	b.stand.CRM.Put("1", nil, []int{4})
	_, err = b.pass(t, b.parts(t, "k"), 1, contact.Add)
	require.NoError(t, err)
	b.requireTags(t, 4)
}

func TestCreationCutOffAnywhereGetsItsTag(t *testing.T) {
	t.Parallel()
	for _, noReturn := range []bool{false, true} {
		steps := []string{"seal", "store", "return", "apply", "confirm", "forget"}
		if noReturn {
			steps = []string{"store", "return", "apply", "confirm"}
		}
		for _, after := range []bool{false, true} {
			for at, step := range steps {
				t.Run(fmt.Sprint(step, " after=", after, " noReturn=", noReturn), func(t *testing.T) {
					t.Parallel()
					b := setup(t)
					b.createdTag, b.noReturn = tag("55"), noReturn
					b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, []int{4})
					parts := b.parts(t, "k")
					parts.at, parts.after = at+1, after
					_, err := b.pass(t, parts, 1, contact.Add)
					require.ErrorIs(t, err, errCut)
					if !noReturn && slices.Contains([]string{"seal", "store", "return"}, step) {
						applied, _ := b.calls()
						require.Zero(t, applied, "the password comes first")
					}
					_, err = b.pass(t, b.parts(t, "k"), 1, contact.Add)
					require.NoError(t, err)
					b.requireTags(t, 4, 55)
					if !noReturn {
						b.requireRight(t)
					}
					b.requireSettled(t)
				})
			}
		}
	}
}

func TestCreatedTagWaitsForThePassword(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.createdTag = tag("55")
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, nil)
	parts := b.parts(t, "k")
	parts.at = 3 // the site has the user, the CRM not yet the password
	_, err := b.pass(t, parts, 1, contact.Add)
	require.ErrorIs(t, err, errCut)
	for _, action := range []contact.Action{contact.UpdateTags, contact.Update} {
		_, err = b.pass(t, b.parts(t, "k"), 1, action)
		require.NoError(t, err)
		applied, _ := b.calls()
		require.Zero(t, applied, "%s must not announce a password that is not there", action)
	}
	_, err = b.pass(t, b.parts(t, "k"), 1, contact.Add)
	require.NoError(t, err)
	b.requireTags(t, 55)
	b.requireRight(t)
}

func TestTagsThatTheCRMRefusesKeepNoPasswordUnconfirmed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.createdTag = tag("55")
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, nil)
	require.NoError(t, b.stand.CRM.Fail(sandbox.Fault{Status: 422, Route: "tag_apply", Count: 1}))
	_, err := b.pass(t, b.parts(t, "k"), 1, contact.Add)
	require.ErrorContains(t, err, "applying 1 tags of contact 1")
	require.Equal(t, syncer.TryAgain, syncer.Judge(err, 0).Verdict)
	require.NotContains(t, b.stand.Site.UsersByContact("1")[0].Meta, "spillway_unconfirmed")
	_, err = b.pass(t, b.parts(t, "k"), 1, contact.Add)
	require.NoError(t, err)
	b.requireTags(t, 55)
	b.requireRight(t)
}

func TestCreatedTagIsFoundByNameAndAddsWaitWhileThereIsNone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.createdTag = b.crm.NamedTag("Tag 55")
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, []int{4})
	_, err := b.pass(t, b.parts(t, "k"), 1, contact.Add)
	require.ErrorContains(t, err, `SPILLWAY_CREATED_TAG: the CRM has no tag "Tag 55"`)
	require.Equal(t, syncer.Wait, syncer.Judge(err, 0).Verdict)
	require.Empty(t, b.stand.Site.UsersByContact("1"), "a user without the tag would never get it")

	b.stand.CRM.Put("2", nil, []int{55}) // someone makes it
	b.createdTag = b.crm.NamedTag("Tag 55")
	_, err = b.pass(t, b.parts(t, "k"), 1, contact.Add)
	require.NoError(t, err)
	b.requireTags(t, 4, 55)
}
