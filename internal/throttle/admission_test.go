package throttle_test

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/pending"
	"spillway/internal/throttle"
	"spillway/internal/worker"
)

// begun notes which contacts' passes begin, in their order.
type begun struct {
	mu  sync.Mutex
	ids []int
}

// noting runs passes and notes that they begin.
type noting struct {
	worker.Passer
	begun *begun
}

func (n noting) Pass(ctx context.Context, ref contact.Ref, intent contact.Intent, asOf int64) (contact.Result, error) {
	id, _ := strconv.Atoi(ref.ID)
	n.begun.mu.Lock()
	n.begun.ids = append(n.begun.ids, id)
	n.begun.mu.Unlock()
	return n.Passer.Pass(ctx, ref, intent, asOf)
}

// inOrder requires that each contact's last pass began in its turn, give or take
// some.
func (b *begun) inOrder(t *testing.T, contacts, tolerance int) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	last := make(map[int]int)
	for at, id := range b.ids {
		last[id] = at
	}
	require.Len(t, last, contacts)
	repeated := len(b.ids) - contacts
	for id, at := range last {
		require.InDelta(t, id-1, at, float64(tolerance+repeated), "contact %d began as number %d", id, at+1)
	}
}

// queue submits a webhook for each of the CRM's contacts 1 to n, in order.
func (s *stack) queue(t *testing.T, action contact.Action, n int) {
	t.Helper()
	webhooks := make([]pending.Webhook, n)
	for i := range webhooks {
		webhooks[i] = pending.Webhook{Ref: contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(i + 1)}, Intent: contact.Intent{Action: action}}
	}
	require.NoError(t, s.contacts.SubmitAll(t.Context(), webhooks))
}

// A CRM that takes ten calls a second, and four workers that could make many
// more: no pass fails, and no call is made in vain.
func TestASlowCRMFailsNoPassAndWastesNoCall(t *testing.T) {
	t.Parallel()
	const contacts = 100
	s := newStack(t, stackOptions{
		crm:  sandbox.CRMOptions{Latency: 50 * time.Millisecond},
		site: sandbox.SiteOptions{StartCost: 20 * time.Millisecond, ContactCost: time.Millisecond},
		rate: 10, concurrency: 64, batch: 50,
	})
	s.crm.SeedWithTags(contacts, 3)
	s.queue(t, contact.Update, contacts)
	for range 4 {
		s.work(t)
	}
	s.drained(t)
	stats := s.stats(t)
	require.Equal(t, int64(contacts), stats.Synced)
	require.Zero(t, stats.Failed)
	require.Equal(t, int64(2*contacts), s.crm.Stats().Total)
	s.begun.inOrder(t, contacts, 16)
}

// The same with a CRM that allows fewer calls than are set and does not say so.
func TestALimitThatTheCRMDoesNotTellFailsNoPass(t *testing.T) {
	t.Parallel()
	const contacts = 150
	s := newStack(t, stackOptions{
		crm:  sandbox.CRMOptions{Latency: 20 * time.Millisecond, RatePerSecond: 15},
		site: sandbox.SiteOptions{StartCost: 20 * time.Millisecond, ContactCost: time.Millisecond},
		rate: 200, concurrency: 64, batch: 50,
	})
	s.crm.SeedWithTags(contacts, 3)
	s.queue(t, contact.Update, contacts)
	for range 4 {
		s.work(t)
	}
	s.drained(t)
	stats := s.stats(t)
	require.Equal(t, int64(contacts), stats.Synced)
	require.Zero(t, stats.Failed)
	require.Positive(t, s.crm.Stats().Limited, "the limit was met")
}

// A 429 that asks for longer than a pass may wait: the contacts stay as they
// are, and nothing is written about any of them.
func TestALongHoldLeavesTheContactsPendingInTheirOrder(t *testing.T) {
	t.Parallel()
	const contacts = 1000
	s := newStack(t, stackOptions{
		crm:  sandbox.CRMOptions{Latency: 10 * time.Millisecond},
		site: sandbox.SiteOptions{StartCost: 5 * time.Millisecond},
		rate: 200, concurrency: 32, batch: 50,
	})
	s.crm.SeedWithTags(contacts, 3)
	s.queue(t, contact.Update, contacts)
	for range 3 {
		s.work(t)
	}
	polltest.Until(t, time.Minute, func() bool { return s.stats(t).Synced > 50 }, "passes are under way")
	require.NoError(t, s.crm.Fail(sandbox.Fault{Status: http.StatusTooManyRequests, RetryAfter: 18 * time.Second}))
	polltest.Until(t, 15*time.Second, func() bool {
		_, hold, err := s.budget.Rate(t.Context())
		return err == nil && hold > 0 && s.stats(t).Active == 0
	}, "what was under way ends or goes back")
	before := s.stats(t)
	calls := s.crm.Stats().Total
	systems, err := s.statuses.Read(t.Context())
	require.NoError(t, err)
	require.Positive(t, systems[0].Facts["held_seconds"], "operators see it")
	polltest.Throughout(t, 5*time.Second, func() bool {
		now := s.stats(t)
		return now.Active+now.Retrying+now.Failed == 0 && now.Pending == before.Pending
	}, "the contacts stay as they are")
	require.Equal(t, calls, s.crm.Stats().Total, "nobody calls")

	s.drained(t)
	stats := s.stats(t)
	require.Equal(t, int64(contacts), stats.Synced)
	require.Zero(t, stats.Failed)
	require.Len(t, s.log.Named("pass ended"), contacts, "a line for each pass that synced, no other")
	s.begun.inOrder(t, contacts, 64)
}

func TestASlowSiteMakesNoPassWaitOutItsDeadline(t *testing.T) {
	t.Parallel()
	// The CRM gives 200 contacts a second, the site takes about 50.
	s := newStack(t, stackOptions{
		crm:  sandbox.CRMOptions{Latency: 2 * time.Millisecond},
		site: sandbox.SiteOptions{StartCost: 50 * time.Millisecond, ContactCost: 19 * time.Millisecond},
		rate: 400, concurrency: 64, batch: 50,
	})
	s.crm.SeedWithTags(400, 3)
	s.submit(t, contact.Add)
	s.work(t)
	s.drained(t)
	require.Equal(t, int64(400), s.crm.Stats().Calls["contact"], "no contact is read twice")
	require.Equal(t, int64(400), s.crm.Stats().Calls["tags"])
}

func TestCallsOfAllReplicasStandInOneLine(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	replicas := []*throttle.Budget{newBudget(t, server.Client(), 20, 1), newBudget(t, server.Client(), 20, 1)}
	turn := func() string { return rdb.HGet(t.Context(), budgetKey, "turn").Val() }
	const calls = 12
	order := make(chan int, calls)
	var group sync.WaitGroup
	for i := range calls {
		before := turn()
		group.Go(func() {
			if replicas[i%3/2].Wait(t.Context()) == nil { // two of three are one replica's
				order <- i
			}
		})
		require.Eventually(t, func() bool { return turn() != before }, 30*time.Second, time.Millisecond)
	}
	group.Wait()
	close(order)
	at := 0
	for i := range order {
		require.InDelta(t, at, i, 1, "a busy machine may wake two of them the other way round")
		at++
	}
	require.Equal(t, calls, at)
}

func TestA429MakesTheTurnsVoidThatWereGivenBefore(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	here, there := newBudget(t, server.Client(), 1, 1), newBudget(t, server.Client(), 1, 1)
	require.NoError(t, here.Wait(t.Context()))
	rdb := server.Client()
	first := rdb.HGet(t.Context(), budgetKey, "turn").Val()
	done := make(chan time.Time, 1)
	go func() {
		if here.Wait(t.Context()) == nil {
			done <- time.Now()
		}
	}()
	require.Eventually(t, func() bool { return rdb.HGet(t.Context(), budgetKey, "turn").Val() != first }, 30*time.Second, time.Millisecond)
	began := time.Now()
	there.Limited(t.Context(), 3*time.Second)
	require.GreaterOrEqual(t, (<-done).Sub(began), 2900*time.Millisecond)
}

func TestAPassBeginsOnlyWhenItsFirstCallIsNear(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	here, there := newBudget(t, server.Client(), 2, 1), newBudget(t, server.Client(), 2, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ok, _, err := here.Begin(ctx)
	require.NoError(t, err)
	require.True(t, ok)
	ok, wait, err := there.Begin(ctx)
	require.NoError(t, err)
	require.False(t, ok, "what has just begun may still have to ask for its calls")
	require.LessOrEqual(t, wait, 250*time.Millisecond)

	var line sync.WaitGroup
	for range 20 { // ten seconds' calls
		line.Go(func() { _ = here.Wait(ctx) })
	}
	require.Eventually(t, func() bool {
		ok, wait, err = there.Begin(ctx)
		return err == nil && !ok && wait > 4*time.Second
	}, 30*time.Second, time.Millisecond)
	cancel()
	line.Wait()

	here.Limited(t.Context(), time.Minute)
	ok, wait, err = there.Begin(t.Context())
	require.NoError(t, err)
	require.False(t, ok)
	require.Greater(t, wait, 50*time.Second, "a hold lets nothing begin")
}

// steady is a site that stores at a pace.
type steady struct {
	perSecond float64
	batch     int
}

func (s steady) Pace() (perSecond float64, batch int) { return s.perSecond, s.batch }
func (steady) Ended()                                 {}

func TestPlacesAreThoseOfAllReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	gate := func(site steady) *throttle.Gate {
		return throttle.NewGate(throttle.GateOptions{Places: throttle.NewPlaces(server.Client(), throttle.PlacesKey(contact.DefaultSite)), Site: site})
	}
	// A replica that was killed is counted no longer.
	rdb := server.Client()
	require.NoError(t, rdb.HSet(t.Context(), throttle.PlacesKey(contact.DefaultSite), "killed", "1000 0.000 1700000000000").Err())
	begin := func(g *throttle.Gate) (end func()) {
		t.Helper()
		end, _, err := g.Begin(t.Context())
		require.NoError(t, err)
		return end
	}
	here, there := gate(steady{batch: 2}), gate(steady{batch: 2})
	first := begin(here)
	require.NotNil(t, first)
	for _, g := range []*throttle.Gate{there, here, there} {
		require.NotNil(t, begin(g))
	}
	require.Nil(t, begin(here), "two batches are under way")
	require.Nil(t, begin(there))
	require.Equal(t, 2, here.UnderWay())
	first()
	require.Equal(t, 1, here.UnderWay())
	require.Eventually(t, func() bool { return begin(there) != nil }, 10*time.Second, 10*time.Millisecond)

	// What the replicas store together in ten seconds may be under way.
	quick := gate(steady{perSecond: 1, batch: 2})
	for range 6 {
		require.NotNil(t, begin(quick))
	}
	require.Nil(t, begin(quick))
}
