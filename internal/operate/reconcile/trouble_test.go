package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/operate/reconcile"
	"spillway/internal/pulse"
	"spillway/internal/site"
)

// acting does something at certain calls.
type acting struct {
	reconcile.CRM
	onPage    func(tag string, page pulse.TaggedPage) error // after the page is noted
	afterList func()                                        // after the last page of the last tag
	onTags    func(id string, nth int)                      // before a contact is looked at
	looks     int
}

func (a *acting) Tagged(ctx context.Context, tag string, from int, each func(pulse.TaggedPage) error) error {
	return a.CRM.Tagged(ctx, tag, from, func(page pulse.TaggedPage) error {
		if err := each(page); err != nil || a.onPage == nil {
			return err
		}
		return a.onPage(tag, page)
	})
}

func (a *acting) Tags(ctx context.Context, id string) ([]string, error) {
	if a.looks == 0 && a.afterList != nil {
		a.afterList()
	}
	if a.looks++; a.onTags != nil {
		a.onTags(id, a.looks)
	}
	return a.CRM.Tags(ctx, id)
}

func (b *bundle) journal() *reconcile.Journal {
	b.t.Helper()
	journal, err := reconcile.OpenJournal(filepath.Join(b.folder, "journal"), "all", false)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = journal.Close() })
	return journal
}

var errKilled = errors.New("killed")

func TestInterruptedComparisonGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	const tags, each = 20, 4
	for name, from := range map[string]struct {
		page int
		last bool // of a tag
		look int
	}{"while a tag is read": {page: 30}, "right at the end of a tag": {page: 30, last: true}, "while contacts are looked at": {look: 9}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.agree(600, tags)
			planted := b.plant(1, each, tags)
			ctx, stop := context.WithCancelCause(t.Context())
			pages := 0
			crm := &acting{CRM: b.crm, onPage: func(_ string, page pulse.TaggedPage) error {
				if pages++; from.page > 0 && pages >= from.page && (page.Page == page.Last) == from.last {
					stop(errKilled)
				}
				return ctx.Err()
			}, onTags: func(_ string, nth int) {
				if nth == from.look {
					stop(errKilled)
				}
			}}
			first := b.journal()
			_, err := reconcile.Run(ctx, b.options(func(o *reconcile.Options) { o.CRM, o.Journal = crm, first }))
			require.ErrorIs(t, err, context.Canceled)
			require.NoError(t, first.Close())
			before := b.stand.CRM.Stats().Calls

			second := b.journal()
			require.True(t, second.Found)
			result := b.run(func(o *reconcile.Options) { o.Journal = second })
			require.Equal(t, planted, kindsOf(result))
			require.Equal(t, counts(each), result.Differences)
			after := b.stand.CRM.Stats().Calls
			require.EqualValues(t, 1, after["all_tags"])
			b.run(nil)
			whole := b.stand.CRM.Stats().Calls["tagged"] - after["tagged"]
			require.LessOrEqual(t, after["tagged"], whole+1, "what was read is not read again")
			if from.look > 0 {
				require.Equal(t, before["tagged"], after["tagged"])
			}
			require.NoError(t, second.Finish())
			require.NoFileExists(t, filepath.Join(b.folder, "journal"))
		})
	}
}

func TestJournalBelongsToOneComparisonAndOneProcess(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.agree(20, 20)
	first := b.journal()
	_, err := reconcile.OpenJournal(filepath.Join(b.folder, "journal"), "all", false)
	require.ErrorIs(t, err, reconcile.ErrBusy)
	b.run(func(o *reconcile.Options) { o.Journal = first })
	require.NoError(t, first.Close())
	for _, open := range []struct {
		compared string
		restart  bool
		found    bool
	}{{"all", false, true}, {"another tag", false, false}, {"another tag", true, false}} {
		journal, err := reconcile.OpenJournal(filepath.Join(b.folder, "journal"), open.compared, open.restart)
		require.NoError(t, err)
		require.Equal(t, open.found, journal.Found, "%+v", open)
		require.NoError(t, journal.Close())
	}
}

func TestSecondComparisonSaysThatOneRuns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	held, release, err := reconcile.NewLock(b.redis.Client(), "default").Take(t.Context())
	require.NoError(t, err)
	_, _, err = reconcile.NewLock(b.redis.Client(), "default").Take(t.Context())
	var running *reconcile.Running
	require.ErrorAs(t, err, &running)
	require.ErrorContains(t, err, "is being compared already, by process")
	_, other, err := reconcile.NewLock(b.redis.Client(), "another").Take(t.Context())
	require.NoError(t, err, "another site")
	other()
	require.NoError(t, held.Err())
	release()
	_, again, err := reconcile.NewLock(b.redis.Client(), "default").Take(t.Context())
	require.NoError(t, err)
	again()
}

func TestLockOfAKilledProcessIsTaken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := "spw:reconcile:default:lock"
	require.NoError(t, b.redis.Client().Set(t.Context(), key, `{"owner":"dead"}`, 1500*time.Millisecond).Err())
	held, release, err := reconcile.NewLock(b.redis.Client(), "default").Take(t.Context())
	require.NoError(t, err)
	defer release()
	// And another one that takes it in spite of that ends the comparison.
	require.NoError(t, b.redis.Client().Set(t.Context(), key, `{"owner":"thief"}`, time.Minute).Err())
	<-held.Done()
	require.ErrorContains(t, context.Cause(held), "another process has taken the comparison over")
}

func TestCRMThatIsAwayInTheMiddleIsWaitedFor(t *testing.T) {
	t.Parallel()
	const tags, each = 20, 2
	b := setup(t)
	b.agree(300, tags)
	planted := b.plant(1, each, tags)
	pages := 0
	crm := &acting{CRM: b.crm, onPage: func(string, pulse.TaggedPage) error {
		if pages++; pages == 7 {
			require.NoError(t, b.stand.CRM.FailNext(2, http.StatusServiceUnavailable))
		}
		return nil
	}, onTags: func(_ string, nth int) {
		if nth == 3 {
			require.NoError(t, b.stand.CRM.FailNext(1, http.StatusBadGateway))
		}
	}}
	require.NoError(t, b.stand.Site.Fail(http.StatusServiceUnavailable, 1))
	require.Equal(t, planted, kindsOf(b.run(func(o *reconcile.Options) { o.CRM = crm })))
}

func TestCRMThatStaysAwayEndsTheComparisonWithoutAResult(t *testing.T) {
	t.Parallel()
	const tags, each = 20, 2
	b := setup(t)
	b.agree(300, tags)
	planted := b.plant(1, each, tags)
	pages := 0
	crm := &acting{CRM: b.crm, onPage: func(string, pulse.TaggedPage) error {
		if pages++; pages == 7 {
			return b.stand.CRM.FailNext(1000, http.StatusServiceUnavailable)
		}
		return nil
	}}
	first := b.journal()
	_, err := reconcile.Run(t.Context(), b.options(func(o *reconcile.Options) {
		o.CRM, o.Journal, o.Patience = crm, first, 10*time.Millisecond
	}))
	_, isOutage := contact.AsOutage(err)
	require.True(t, isOutage, "%v", err)
	require.NoError(t, first.Close())
	b.stand.CRM.ClearFaults()
	require.Equal(t, planted, kindsOf(b.run(func(o *reconcile.Options) { o.Journal = b.journal() })))
}

func TestTagThatIsDeletedInTheMiddleIsLeftOutOrLeftOver(t *testing.T) {
	t.Parallel()
	const tags = 20
	b := setup(t)
	b.agree(300, tags)
	var deleted int
	crm := &acting{CRM: b.crm, onPage: func(tag string, page pulse.TaggedPage) error {
		if deleted == 0 && page.Page == 1 {
			deleted, _ = strconv.Atoi(tag)
			b.stand.CRM.DeleteTag(deleted)
		}
		return nil
	}}
	result := b.run(func(o *reconcile.Options) { o.CRM = crm })
	require.Equal(t, []string{strconv.Itoa(deleted)}, result.Gone)
	carrying := 0
	for id := 1; id <= 300; id++ {
		for _, tag := range tagsOf(id, tags) {
			if tag == deleted {
				carrying++
			}
		}
	}
	require.Equal(t, carrying, result.Differences[reconcile.TagsLeftOver], "the site's users still have it")
	require.Equal(t, carrying, result.Total())
}

func TestRepairThatIsInterruptedGoesOn(t *testing.T) {
	t.Parallel()
	const tags, each = 20, 30
	b := setup(t)
	b.agree(400, tags)
	b.plant(1, each, tags)
	b.work()
	ctx, stop := context.WithCancel(t.Context())
	interrupted := &handing{Contacts: b.contacts, stopAt: 20, stop: stop}
	var options reconcile.Options
	journal := b.journal()
	before := b.run(func(o *reconcile.Options) { o.Journal, o.Contacts = journal, interrupted; options = *o })
	how := reconcile.Repair{Outstanding: 10, Folder: b.folder, CreateUsers: true}
	_, err := reconcile.Mend(ctx, options, before, how)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, journal.Close())

	second := &handing{Contacts: b.contacts}
	after := b.run(func(o *reconcile.Options) { o.Journal, o.Contacts = b.journal(), second; options = *o })
	require.Equal(t, before.Differences, after.Differences, "of the journal")
	repaired, err := reconcile.Mend(t.Context(), options, after, how)
	require.NoError(t, err)
	require.Equal(t, 4*each, repaired.Queued)
	require.LessOrEqual(t, second.handed.Load(), int64(4*each), "what was queued is not queued again")
	require.Less(t, second.handed.Load(), int64(4*each))
	require.Equal(t, 2*each, repaired.Left.Total())
}

// handing ends a context when so many contacts were handed over.
type handing struct {
	reconcile.Contacts
	handed atomic.Int64
	stopAt int64
	stop   context.CancelFunc
}

func (h *handing) Resync(ctx context.Context, ref contact.Ref, intent contact.Intent) (bool, error) {
	if h.handed.Add(1) == h.stopAt {
		h.stop()
	}
	return h.Contacts.Resync(ctx, ref, intent)
}

// deaf is a site whose connector is too old.
type deaf struct{ reconcile.Site }

func (deaf) Users(context.Context, int64, func(site.Listed) error) (int64, bool, error) {
	return 0, true, fmt.Errorf("listing: %w", site.ErrNoListing)
}

func TestConnectorThatCannotListIsNoOutage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.agree(20, 20)
	_, err := reconcile.Run(t.Context(), b.options(func(o *reconcile.Options) { o.Site = deaf{b.site} }))
	require.ErrorIs(t, err, site.ErrNoListing)
}
