package resync_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/contact"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/operate/progress"
	"spillway/internal/operate/resync"
	"spillway/internal/pending"
	"spillway/internal/pulse"
)

// bundle is a CRM with contacts, a Redis, and what a resync needs.
type bundle struct {
	stand    *sandbox.Running
	redis    *redistest.Server
	contacts *pending.Contacts
	crm      *pulse.Client
	journal  string
}

func setup(t *testing.T) *bundle {
	t.Helper()
	stand, err := sandbox.Serve(sandbox.Options{
		CRM:  sandbox.CRMOptions{Token: "a-token", TagPageSize: 100},
		Site: sandbox.SiteOptions{User: "spillway", AppPassword: "an app password", StartCost: -1, ContactCost: -1},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	server := redistest.Start(t)
	crm, err := pulse.New(pulse.Options{URL: stand.CRMURL, Tokens: pulse.Fixed("a-token")})
	require.NoError(t, err)
	return &bundle{
		stand: stand, redis: server, contacts: pending.New(server.Client(), pending.Options{}), crm: crm,
		journal: filepath.Join(t.TempDir(), "journal"),
	}
}

// work runs a worker until the test ends.
func (b *bundle) work(t *testing.T) {
	t.Helper()
	settings, err := config.Load(config.Worker, nil, []string{
		"SPILLWAY_REDIS_URL=" + b.redis.URL(), "SPILLWAY_CRM_URL=" + b.stand.CRMURL, "SPILLWAY_CRM_TOKEN=a-token",
		"SPILLWAY_CRM_RATE=10000", "SPILLWAY_CRM_CONCURRENCY=64",
		"SPILLWAY_SITE_URL=" + b.stand.SiteURL, "SPILLWAY_SITE_USER=spillway", "SPILLWAY_SITE_APP_PASSWORD=an app password",
		"SPILLWAY_WORKER_ADDR=127.0.0.1:0", "SPILLWAY_CREATION_LIMIT=0", // thousands are created
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- assembly.Worker(ctx, settings, zerolog.Nop()) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
}

func (b *bundle) run(ctx context.Context, t *testing.T, source resync.Source, change func(*resync.Options)) (resync.Result, error) {
	t.Helper()
	return b.prepare(t, source, change)(ctx)
}

// prepare opens the journal and returns what runs the resync and closes it.
func (b *bundle) prepare(t *testing.T, source resync.Source, change func(*resync.Options)) func(context.Context) (resync.Result, error) {
	t.Helper()
	journal, err := resync.OpenJournal(b.journal, source.Name(), false)
	require.NoError(t, err)
	options := resync.Options{
		Source: source, Contacts: b.contacts, Site: contact.DefaultSite, Action: contact.Update,
		Outstanding: 500, Journal: journal, Progress: progress.New(&bytes.Buffer{}),
	}
	if change != nil {
		change(&options)
	}
	return func(ctx context.Context) (resync.Result, error) {
		defer journal.Close()
		return resync.Run(ctx, options)
	}
}

// tag makes contacts 1 to n, of which those that wanted says carry the tag.
func (b *bundle) tag(n int, tagsOf func(id int) []int) {
	for id := 1; id <= n; id++ {
		b.stand.CRM.Put(strconv.Itoa(id), map[string]any{"email": fmt.Sprintf("c%d@example.com", id)}, tagsOf(id))
	}
}

// counting ends a context when so many contacts were handed over, and notes the
// most that were ever outstanding.
type counting struct {
	*pending.Contacts
	handed atomic.Int64
	stopAt int64
	stop   context.CancelFunc
}

func (c *counting) Resync(ctx context.Context, ref contact.Ref, intent contact.Intent) (bool, error) {
	if c.handed.Add(1) == c.stopAt {
		c.stop()
	}
	return c.Contacts.Resync(ctx, ref, intent)
}

func TestFiveThousandTaggedContactsInterruptedAndResumed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tag(5200, func(id int) []int {
		if id > 5000 {
			return []int{9}
		}
		return []int{7}
	})
	b.work(t)
	source := resync.ByTags(b.crm, "tag 7")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	first := &counting{Contacts: b.contacts, stopAt: 2000, stop: stop}
	result, err := b.run(ctx, t, source, func(o *resync.Options) { o.Contacts, o.Action, o.Wait = first, contact.Add, true })
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 5000, result.Selected)
	require.Less(t, result.Queued, 2001)
	require.Greater(t, result.Queued, 1800)

	second := &counting{Contacts: b.contacts}
	resumed, err := b.run(t.Context(), t, source, func(o *resync.Options) { o.Contacts, o.Action, o.Wait = second, contact.Add, true })
	require.NoError(t, err)
	require.Equal(t, 5000, resumed.Queued)
	require.Equal(t, result.Queued, resumed.Earlier)
	require.Equal(t, int64(5000-result.Queued), second.handed.Load(), "what was queued is not queued again")
	require.Equal(t, 5000-result.Queued, resumed.Synced)
	require.Equal(t, int64(50), b.stand.CRM.Stats().Calls["tagged"], "what was read is not read again")
	require.Eventually(t, func() bool { return len(b.stand.Site.Users()) == 5000 }, 30*time.Second, 50*time.Millisecond)
	require.Empty(t, b.stand.Site.UsersByContact("5001"))
	require.NoFileExists(t, b.journal)
}

func TestNoMoreIsOutstandingThanAllowed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tag(300, func(int) []int { return []int{7} })
	// A webhook's own work counts, too. Nobody works it off.
	for id := 1000; id < 1020; id++ {
		_, err := b.contacts.Submit(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(id)}, contact.Intent{Action: contact.Update}, contact.Receipt{})
		require.NoError(t, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	run := b.prepare(t, resync.ByTags(b.crm, "7"), func(o *resync.Options) { o.Outstanding = 50 })
	go func() {
		_, err := run(ctx)
		ended <- err
	}()
	outstanding := func() int64 {
		stats, err := b.contacts.Stats(t.Context())
		require.NoError(t, err)
		return stats.Pending
	}
	polltest.Until(t, 30*time.Second, func() bool { return outstanding() == 50 }, "50 contacts are outstanding")
	polltest.Throughout(t, 500*time.Millisecond, func() bool { return outstanding() <= 50 }, "at most 50 contacts are outstanding")
	stop()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func TestAllTaggedContactsAreTakenOnceEach(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tag(90, func(id int) []int {
		switch {
		case id%3 == 0:
			return []int{}
		case id%2 == 0:
			return []int{1, 2, 3}
		default:
			return []int{2}
		}
	})
	result, err := b.run(t.Context(), t, resync.ByTags(b.crm), nil)
	require.NoError(t, err)
	require.Equal(t, resync.Result{Selected: 60, Skipped: 60, Queued: 60}, result)
	for id, want := range map[string]pending.State{"1": pending.Pending, "2": pending.Pending, "3": pending.Idle} {
		record, err := b.contacts.Lookup(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: id})
		require.NoError(t, err)
		require.Equal(t, want, record.State, id)
	}
}

// shifting takes the tag from a contact of page 1 while page 2 is read.
type shifting struct {
	resync.CRM
	after func()
}

func (s *shifting) Tagged(ctx context.Context, tag string, from int, each func(pulse.TaggedPage) error) error {
	return s.CRM.Tagged(ctx, tag, from, func(page pulse.TaggedPage) error {
		if err := each(page); err != nil {
			return err
		}
		if s.after != nil {
			s.after()
			s.after = nil
		}
		return nil
	})
}

func TestAListThatGetsShorterWhileItIsReadHidesNobody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tag(250, func(int) []int { return []int{7} })
	crm := &shifting{CRM: b.crm, after: func() { b.stand.CRM.Put("5", nil, []int{}) }}
	result, err := b.run(t.Context(), t, resync.ByTags(crm, "Tag 7"), nil)
	require.NoError(t, err)
	require.Equal(t, 250, result.Queued, "101, which moved to the page that was read, included")
}

// brief ends like a process that is killed after it noted the last page, and
// like a CRM that has no page behind that one.
type brief struct {
	resync.CRM
	killed bool
}

var errKilled = errors.New("killed")

func (b *brief) Tagged(ctx context.Context, tag string, from int, each func(pulse.TaggedPage) error) error {
	return b.CRM.Tagged(ctx, tag, from, func(page pulse.TaggedPage) error {
		if page.Page > page.Last {
			return pulse.ErrNotFound
		}
		if err := each(page); err != nil {
			return err
		}
		if page.Page == page.Last && !b.killed {
			b.killed = true
			return errKilled
		}
		return nil
	})
}

func TestARunThatWasKilledAfterTheLastPageAsksForNoOther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tag(250, func(int) []int { return []int{7} })
	crm := &brief{CRM: b.crm}
	_, err := b.run(t.Context(), t, resync.ByTags(crm, "7"), nil)
	require.ErrorIs(t, err, errKilled)
	result, err := b.run(t.Context(), t, resync.ByTags(crm, "7"), nil)
	require.NoError(t, err)
	require.Equal(t, 250, result.Queued)
	require.Equal(t, int64(3), b.stand.CRM.Stats().Calls["tagged"])
}

func TestUnknownTagIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tag(1, func(int) []int { return []int{7} })
	_, err := b.run(t.Context(), t, resync.ByTags(b.crm, "Costumers"), nil)
	var unknown *resync.UnknownTag
	require.ErrorAs(t, err, &unknown)
	require.ErrorContains(t, err, `no tag "Costumers" among its 1`)
}

func TestParkedContactsAreCounted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stand.CRM.Put("1", map[string]any{"email": ""}, []int{7})
	b.stand.CRM.Put("2", map[string]any{"email": "two@example.com"}, []int{7})
	b.work(t)
	result, err := b.run(t.Context(), t, resync.ByTags(b.crm, "7"), func(o *resync.Options) { o.Action, o.Wait = contact.Add, true })
	require.NoError(t, err)
	require.Equal(t, resync.Result{Selected: 2, Queued: 2, Synced: 1, Parked: 1}, result)
}
