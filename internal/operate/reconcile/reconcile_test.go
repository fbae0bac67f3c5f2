package reconcile_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/operate/progress"
	"spillway/internal/operate/reconcile"
	"spillway/internal/pending"
	"spillway/internal/pulse"
	"spillway/internal/site"
)

// bundle is a CRM and a site that agree, a Redis, and what a comparison needs.
type bundle struct {
	t        *testing.T
	stand    *sandbox.Running
	redis    *redistest.Server
	contacts *pending.Contacts
	crm      reconcile.CRM
	site     *site.Client
	folder   string
}

func setup(t *testing.T) *bundle {
	t.Helper()
	stand, err := sandbox.Serve(sandbox.Options{
		CRM:  sandbox.CRMOptions{Token: "a-token", TagPageSize: 50},
		Site: sandbox.SiteOptions{User: "spillway", AppPassword: "an app password", StartCost: -1, ContactCost: -1},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	crm, err := pulse.New(pulse.Options{URL: stand.CRMURL, Tokens: pulse.Fixed("a-token")})
	require.NoError(t, err)
	client, err := site.New(site.Options{URL: stand.SiteURL, User: "spillway", AppPassword: "an app password"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	server := redistest.Start(t)
	return &bundle{
		t: t, stand: stand, redis: server, contacts: pending.New(server.Client(), pending.Options{}),
		crm: crm, site: client, folder: t.TempDir(),
	}
}

// work runs a worker until the test ends.
func (b *bundle) work(settings ...string) {
	b.t.Helper()
	loaded, err := config.Load(config.Worker, nil, append([]string{
		"SPILLWAY_REDIS_URL=" + b.redis.URL(), "SPILLWAY_CRM_URL=" + b.stand.CRMURL, "SPILLWAY_CRM_TOKEN=a-token",
		"SPILLWAY_CRM_RATE=10000", "SPILLWAY_CRM_CONCURRENCY=64",
		"SPILLWAY_SITE_URL=" + b.stand.SiteURL, "SPILLWAY_SITE_USER=spillway", "SPILLWAY_SITE_APP_PASSWORD=an app password",
		"SPILLWAY_WORKER_ADDR=127.0.0.1:0",
	}, settings...))
	require.NoError(b.t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- assembly.Worker(ctx, loaded, zerolog.Nop()) }()
	b.t.Cleanup(func() {
		stop()
		require.NoError(b.t, <-done)
	})
}

// tagsOf are the tags of contact id in setups of so many tags, eleven or more:
// five each.
func tagsOf(id, tags int) []int {
	carried := make([]int, 5)
	for i := range carried {
		carried[i] = 1 + (id*7+i*(i+1)/2)%tags
	}
	return carried
}

func texts(tags []int) []string {
	list := make([]string, len(tags))
	for i, tag := range tags {
		list[i] = strconv.Itoa(tag)
	}
	return list
}

// agree makes contacts 1 to n with their users.
func (b *bundle) agree(n, tags int) {
	b.t.Helper()
	for id := 1; id <= n; id++ {
		b.put(id, tagsOf(id, tags))
		b.user(id, strconv.Itoa(id), tagsOf(id, tags))
	}
}

func (b *bundle) put(id int, tags []int) {
	b.stand.CRM.Put(strconv.Itoa(id), map[string]any{"email": fmt.Sprintf("c%d@example.com", id)}, tags)
}

// user makes a user with a contact id.
func (b *bundle) user(number int, contactID string, tags []int) {
	b.t.Helper()
	login := fmt.Sprintf("c%d@example.com", number)
	id := b.stand.Site.CreateUser(sandbox.NewUser{Login: login, Email: login, Password: "x", ContactID: contactID})
	require.Positive(b.t, id)
	b.stand.Site.SetTags(id, texts(tags)...)
}

// userOf is the only user of a contact.
func (b *bundle) userOf(id int) int64 {
	b.t.Helper()
	users := b.stand.Site.UsersByContact(strconv.Itoa(id))
	require.Len(b.t, users, 1)
	return users[0].ID
}

func (b *bundle) options(change func(*reconcile.Options)) reconcile.Options {
	lock := reconcile.NewLock(b.redis.Client(), contact.DefaultSite)
	options := reconcile.Options{
		CRM: b.crm, Site: b.site, Contacts: b.contacts, Name: contact.DefaultSite, Now: lock.Now,
		Journal: reconcile.NewJournal(), Progress: progress.New(io.Discard), Settle: 300 * time.Millisecond,
	}
	if change != nil {
		change(&options)
	}
	return options
}

func (b *bundle) run(change func(*reconcile.Options)) reconcile.Result {
	b.t.Helper()
	result, err := reconcile.Run(b.t.Context(), b.options(change))
	require.NoError(b.t, err)
	return result
}

// plant makes differences of all kinds, each number of contacts each, behind
// Spillway's back, and returns which contacts differ how.
func (b *bundle) plant(from, each, tags int) map[string]reconcile.Kind {
	b.t.Helper()
	planted := map[string]reconcile.Kind{}
	next := from
	for _, kind := range reconcile.Kinds {
		for range each {
			id := next
			next++
			carried, user := tagsOf(id, tags), b.userOf(id)
			planted[strconv.Itoa(id)] = kind
			switch kind {
			case reconcile.TagsMissing:
				b.stand.Site.SetTags(user, texts(carried[1:])...)
			case reconcile.TagsLeftOver:
				b.put(id, carried[:2])
			case reconcile.TagsMixed:
				b.put(id, append([]int{1 + (carried[0]+1)%tags}, carried[3:]...))
			case reconcile.WithoutUser:
				b.stand.Site.DeleteUser(user)
			case reconcile.ContactGone:
				b.stand.CRM.Delete(strconv.Itoa(id))
			case reconcile.TwoUsers:
				b.user(1_000_000+id, strconv.Itoa(id), carried)
			}
		}
	}
	return planted
}

// kindsOf are what a comparison found, by contact.
func kindsOf(result reconcile.Result) map[string]reconcile.Kind {
	kinds := map[string]reconcile.Kind{}
	for _, d := range result.Examples {
		kinds[d.Contact] = d.Kind
	}
	return kinds
}

func counts(each int) map[reconcile.Kind]int {
	counts := map[reconcile.Kind]int{}
	for _, kind := range reconcile.Kinds {
		counts[kind] = each
	}
	return counts
}

func TestWhatAgreesIsNoDifference(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.agree(300, 20)
	b.user(5000, "no number", []int{1})
	bare := b.stand.Site.CreateUser(sandbox.NewUser{Login: "bare", Email: "bare@example.com", Password: "x"})
	b.stand.Site.SetTags(bare, "1")
	b.put(6000, nil) // neither tags nor a user
	result := b.run(nil)
	require.Equal(t, counts(0), result.Differences)
	require.Equal(t, 300, result.Contacts)
	require.Equal(t, 301, result.Users)
	require.Equal(t, 1, result.Foreign)
	require.Equal(t, 20, result.Tags)
	require.Zero(t, b.stand.CRM.Stats().Calls["tags"], "no contact was asked for by itself")
}

func TestEveryKindIsFoundWhileContactsAreEdited(t *testing.T) {
	t.Parallel()
	const contacts, tags, each = 3000, 100, 7
	b := setup(t)
	b.agree(contacts, tags)
	planted := b.plant(101, each, tags)
	b.work()
	stop, edits := b.edit(contacts/2, contacts, tags)
	result := b.run(nil)
	require.Positive(t, stop())
	require.Equal(t, planted, kindsOf(result))
	require.Equal(t, counts(each), result.Differences)
	require.InDelta(t, contacts-each, result.Contacts, 100, "an edited one may have left a list before it was read, and joined one after")
	calls := b.stand.CRM.Stats().Calls
	require.Less(t, calls["tagged"]+calls["tags"]-edits(), int64(contacts), "half of what a pass over each contact costs")
	missing := result.Examples[slices.IndexFunc(result.Examples, func(d reconcile.Difference) bool { return d.Kind == reconcile.TagsMissing })]
	require.Len(t, missing.Missing, 1)
	require.Empty(t, missing.LeftOver)
}

// edit changes contacts of a range in the CRM, with webhooks, until stop, which
// returns how many. edits is how many passes read tags.
func (b *bundle) edit(from, to, tags int) (stop func() int, edits func() int64) {
	ctx, cancel := context.WithCancel(b.t.Context())
	made := make(chan int, 1)
	go func() {
		n := 0
		for tick := time.NewTicker(20 * time.Millisecond); ; n++ {
			select {
			case <-ctx.Done():
				tick.Stop()
				made <- n
				return
			case <-tick.C:
			}
			id := from + (n*37)%(to-from)
			b.put(id, tagsOf(id+n+1, tags))
			_, _ = b.contacts.Submit(context.WithoutCancel(ctx), contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(id)}, contact.Intent{Action: contact.Update}, contact.Receipt{})
		}
	}()
	return func() int { cancel(); return <-made }, func() int64 {
		stats, err := b.contacts.Stats(b.t.Context())
		require.NoError(b.t, err)
		return stats.Synced
	}
}

func TestRepairLeavesWhatAPersonDecides(t *testing.T) {
	t.Parallel()
	const tags, each = 30, 4
	b := setup(t)
	b.agree(300, tags)
	b.plant(11, each, tags)
	b.work()
	var options reconcile.Options
	before := b.run(func(o *reconcile.Options) { options = *o })
	require.Equal(t, 6*each, before.Total())
	repaired, err := reconcile.Mend(t.Context(), options, before, reconcile.Repair{Outstanding: 5, Folder: b.folder})
	require.NoError(t, err)
	require.Equal(t, 3*each, repaired.Queued)
	require.Equal(t, map[reconcile.Kind]int{
		reconcile.TagsMissing: 0, reconcile.TagsLeftOver: 0, reconcile.TagsMixed: 0,
		reconcile.WithoutUser: each, reconcile.ContactGone: each, reconcile.TwoUsers: each,
	}, repaired.Left.Differences)

	before = b.run(func(o *reconcile.Options) { options = *o })
	require.Equal(t, 3*each, before.Total())
	repaired, err = reconcile.Mend(t.Context(), options, before, reconcile.Repair{CreateUsers: true, Outstanding: 5, Folder: b.folder})
	require.NoError(t, err)
	require.Equal(t, each, repaired.Queued)
	require.Zero(t, repaired.Left.Differences[reconcile.WithoutUser])
	require.Equal(t, 2*each, b.run(nil).Total())
	for id := 11 + 3*each; id < 11+4*each; id++ {
		b.userOf(id)
	}
}

func TestRepairClearsTheTagsOfContactsThatAreGone(t *testing.T) {
	t.Parallel()
	const tags, each = 30, 4
	b := setup(t)
	b.agree(100, tags)
	b.work("SPILLWAY_DELETED_CONTACTS=clear_tags")
	for id := 1; id <= each; id++ {
		b.stand.CRM.Delete(strconv.Itoa(id))
		// The CRM said so for the first time eleven minutes ago.
		ref := contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(id)}
		_, err := b.contacts.Absent(t.Context(), ref)
		require.NoError(t, err)
		rdb := b.redis.Client()
		keys, err := rdb.Keys(t.Context(), "*absent:"+ref.String()).Result()
		require.NoError(t, err)
		require.Len(t, keys, 1)
		require.NoError(t, rdb.Set(t.Context(), keys[0], time.Now().Add(-11*time.Minute).UnixMilli(), time.Hour).Err())
	}
	var options reconcile.Options
	before := b.run(func(o *reconcile.Options) { options = *o })
	require.Equal(t, each, before.Differences[reconcile.ContactGone])
	require.Equal(t, each, before.Total())

	repaired, err := reconcile.Mend(t.Context(), options, before, reconcile.Repair{Outstanding: 5, Folder: b.folder})
	require.NoError(t, err)
	require.Zero(t, repaired.Queued, "unless the settings say so, a person decides")
	repaired, err = reconcile.Mend(t.Context(), options, before, reconcile.Repair{ClearDeleted: true, Outstanding: 5, Folder: b.folder})
	require.NoError(t, err)
	require.Equal(t, each, repaired.Queued)
	require.Zero(t, repaired.Parked)
	require.Zero(t, repaired.Left.Total(), "%+v", repaired.Left.Examples)
	for id := 1; id <= each; id++ {
		user, ok := b.stand.Site.UserByID(b.userOf(id))
		require.True(t, ok, "the user stays")
		require.Empty(t, user.Meta["pulsetech_tags"])
	}
	require.Zero(t, b.run(nil).Total())
}

func TestContactsWithOutstandingWorkAreLeftOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.agree(100, 20)
	b.plant(1, 3, 20)
	for _, id := range []string{"1", "4", "7"} {
		_, err := b.contacts.Submit(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: id}, contact.Intent{Action: contact.Update}, contact.Receipt{})
		require.NoError(t, err)
	}
	result := b.run(nil)
	require.Equal(t, 3, result.Outstanding)
	require.Equal(t, 15, result.Total())
	require.NotContains(t, kindsOf(result), "4")
}

func TestContactThatTheCRMRefusesEndsNoComparison(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.agree(100, 20)
	planted := b.plant(1, 3, 20)
	crm := &acting{CRM: b.crm, onTags: func(id string, nth int) {
		if nth == 2 {
			require.NoError(t, b.stand.CRM.Fail(sandbox.Fault{Status: http.StatusUnprocessableEntity, Route: "tags"}))
		}
	}}
	result := b.run(func(o *reconcile.Options) { o.CRM = crm })
	require.Equal(t, 1, result.Refused)
	require.Equal(t, len(planted)-1, result.Total())
}

func TestOneTagAloneIsCompared(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.agree(200, 20)
	user, other := b.userOf(1), b.userOf(2)
	b.stand.Site.SetTags(user)
	b.stand.Site.SetTags(other, texts(append(tagsOf(2, 20), 99))...) // one that the CRM has not
	carried := tagsOf(1, 20)[0]
	result := b.run(func(o *reconcile.Options) { o.Tags = []string{fmt.Sprintf("tag %d", carried)} })
	require.Equal(t, 1, result.Tags)
	require.Equal(t, 1, result.Total())
	require.Equal(t, []string{strconv.Itoa(carried)}, result.Examples[0].Missing, "of the tags that are compared")
	require.Equal(t, 2, b.run(nil).Total())
	_, err := reconcile.Run(t.Context(), b.options(func(o *reconcile.Options) { o.Tags = []string{"nobody's"} }))
	require.ErrorContains(t, err, `no tag "nobody's" among its 20`)
}

func TestDifferenceThatAnEditMakesDoesNotCount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.agree(50, 20)
	// The contact is edited when its tags have been read, and its webhook comes
	// late, at the second look.
	crm := &acting{CRM: b.crm, onTags: func(id string, nth int) {
		if nth == 2 {
			b.stand.Site.SetTags(b.userOf(3), "1", "2")
		}
	}}
	b.put(3, []int{1, 2, 3})
	crm.afterList = func() { b.put(3, []int{1, 2}) }
	result := b.run(func(o *reconcile.Options) { o.CRM = crm })
	require.Zero(t, result.Total(), "%+v", result.Examples)
}

func TestManyContactsWithoutAUserCostNoCalls(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for id := 1; id <= 5100; id++ {
		b.put(id, []int{1})
	}
	result := b.run(nil)
	require.True(t, result.Unproven)
	require.Equal(t, 5100, result.Differences[reconcile.WithoutUser])
	require.Zero(t, b.stand.CRM.Stats().Calls["tags"])
}
