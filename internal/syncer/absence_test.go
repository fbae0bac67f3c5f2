package syncer_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/sandbox"
	"spillway/internal/pending"
	"spillway/internal/syncer"
)

// clocked are absences whose time passes faster: by a clock that the test sets.
type clocked struct {
	*pending.Contacts
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clocked) Absent(ctx context.Context, ref contact.Ref) (time.Duration, error) {
	ago, err := c.Contacts.Absent(ctx, ref)
	c.mu.Lock()
	defer c.mu.Unlock()
	return ago + c.ahead, err
}

func (c *clocked) later(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += by
}

// deleted makes a contact whose user has tags, and that the CRM has no more.
func deleted(t *testing.T) (*bundle, *clocked, func(action contact.Action) (contact.Result, error)) {
	t.Helper()
	b := setup(t)
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, []int{4})
	_, err := b.pass(t, b.parts(t, "k"), 1, contact.Add)
	require.NoError(t, err)
	b.stand.CRM.Delete("1")
	absences := &clocked{Contacts: pending.New(b.rdb, pending.Options{})}
	fields, err := contact.ParseFieldMap("user_email=email")
	require.NoError(t, err)
	s := syncer.New(b.crm, b.site, nil, syncer.Options{Fields: fields, Absences: absences})
	return b, absences, func(action contact.Action) (contact.Result, error) {
		b.last++
		return s.Pass(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: "1"}, contact.Intent{Action: action}, b.last)
	}
}

func (b *bundle) requireStored(t *testing.T, raw string) {
	t.Helper()
	require.Equal(t, raw, b.stand.Site.UsersByContact("1")[0].RawTags)
}

func requireAbsent(t *testing.T, err error) {
	t.Helper()
	judgement := syncer.Judge(err, 0)
	require.Equal(t, syncer.Wait, judgement.Verdict, "%v", err)
	require.Equal(t, "contact_absent", judgement.Code)
	require.InDelta(t, 10*time.Minute, judgement.After, float64(time.Minute))
	require.GreaterOrEqual(t, judgement.Delay(0, 0), judgement.After)
}

func TestTagsOfAContactThatIsGoneAreClearedAfterTwoAnswers(t *testing.T) {
	t.Parallel()
	for _, action := range []contact.Action{contact.UpdateTags, contact.Update, contact.Add} {
		b, absences, pass := deleted(t)
		_, err := pass(action)
		requireAbsent(t, err)
		absences.later(9 * time.Minute)
		_, err = pass(action)
		var absent *contact.Absent
		require.ErrorAs(t, err, &absent)
		require.InDelta(t, time.Minute, absent.Again, float64(30*time.Second))
		b.requireStored(t, `a:1:{i:0;s:1:"4";}`)
		absences.later(time.Minute)
		result, err := pass(action)
		require.NoError(t, err)
		require.Equal(t, contact.Updated, result.Outcome)
		require.Equal(t, []string{"contact_deleted"}, result.Notes)
		b.requireStored(t, "")
	}
}

func TestContactThatComesBackBetweenKeepsItsTags(t *testing.T) {
	t.Parallel()
	for _, taken := range []bool{true, false} { // by the site
		b, absences, pass := deleted(t)
		_, err := pass(contact.UpdateTags)
		requireAbsent(t, err)
		b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, []int{4})
		if taken {
			_, err = pass(contact.UpdateTags)
			require.NoError(t, err)
		} else {
			b.stand.Site.Poison("1")
			_, err = pass(contact.UpdateTags)
			_, refused := contact.AsRefusal(err)
			require.True(t, refused, "%v", err)
			b.stand.Site.Cure("1")
		}
		require.Zero(t, b.rdb.Exists(t.Context(), "spw:{spillway}:absent:default:1").Val(), "that the contact was missed is forgotten")
		b.stand.CRM.Delete("1")
		_, err = pass(contact.UpdateTags)
		requireAbsent(t, err)
		absences.later(9 * time.Minute)
		_, err = pass(contact.UpdateTags)
		require.Error(t, err)
		b.requireStored(t, `a:1:{i:0;s:1:"4";}`)
	}
}

func TestWhatIsNoDefiniteAnswerClearsNoTags(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]sandbox.Fault{
		"refused token": {Status: http.StatusUnauthorized},
		"away":          {Status: http.StatusServiceUnavailable},
		"busy":          {Status: http.StatusTooManyRequests},
		"a page":        {Mode: sandbox.FaultGarbage},
		"cut off":       {Mode: sandbox.FaultReset},
	} {
		for _, when := range []string{"first", "second"} {
			t.Run(name+" "+when, func(t *testing.T) {
				t.Parallel()
				b, absences, pass := deleted(t)
				if when == "second" {
					_, err := pass(contact.UpdateTags)
					requireAbsent(t, err)
					absences.later(time.Hour)
				}
				fault.Count = 20
				require.NoError(t, b.stand.CRM.Fail(fault))
				for range 2 {
					_, err := pass(contact.UpdateTags)
					require.Error(t, err)
					require.NotEqual(t, "contact_absent", syncer.Judge(err, 0).Code)
					absences.later(time.Hour)
				}
				b.requireStored(t, `a:1:{i:0;s:1:"4";}`)
			})
		}
	}
}

func TestContactThatIsGoneParksUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	b, _, _ := deleted(t)
	_, err := b.pass(t, b.parts(t, "k"), 1, contact.UpdateTags)
	require.Equal(t, syncer.Judgement{Verdict: syncer.Park, Code: "contact_not_found"}, syncer.Judge(err, 0))
	b.requireStored(t, `a:1:{i:0;s:1:"4";}`)
}

func TestEveryNewUserIsMailedWhenToldSo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stand.CRM.Put("1", map[string]any{"email": "one@example.org"}, nil)
	b.stand.CRM.Put("2", map[string]any{"email": "info@müller.example"}, nil)
	fields, err := contact.ParseFieldMap("user_email=email")
	require.NoError(t, err)
	for i, always := range []bool{false, true} {
		id := []string{"1", "2"}[i]
		s := syncer.New(b.crm, b.site, nil, syncer.Options{Fields: fields, NotifyAlways: always})
		for range 2 {
			_, err = s.Pass(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: id}, contact.Intent{Action: contact.Add}, 0)
			require.NoError(t, err)
		}
	}
	require.Empty(t, b.stand.Site.Mails("one@example.org"))
	require.Len(t, b.stand.Site.Mails("info@xn--mller-kva.example"), 1)
}
