package throttle_test

import (
	"context"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"spillway/internal/contact"
	"spillway/internal/lab/logtest"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/pending"
	"spillway/internal/pulse"
	"spillway/internal/site"
	"spillway/internal/site/guard"
	"spillway/internal/syncer"
	"spillway/internal/throttle"
	"spillway/internal/worker"
)

// stack is a CRM, a site, a Redis and workers between them.
type stack struct {
	crm      *sandbox.CRM
	site     *sandbox.Site
	web      *httptest.Server // the site's
	rdb      *redis.Client
	contacts *pending.Contacts
	statuses *throttle.Statuses
	options  stackOptions
	crmURL   string

	admitted atomic.Int64 // wake-ups that may have been taken: passes that a gate let begin
	requests chan site.Request
	begun    *begun           // over all workers
	log      *logtest.Log     // theirs
	budget   *throttle.Budget // of the last of them
}

type stackOptions struct {
	crm         sandbox.CRMOptions
	site        sandbox.SiteOptions
	rate        float64 // of CRM calls
	concurrency int     // of passes, per worker
	batch       int
	breaker     throttle.BreakerOptions
}

func newStack(t *testing.T, options stackOptions) *stack {
	t.Helper()
	server := redistest.Start(t)
	options.site.User, options.site.AppPassword = "spillway", "app-password"
	s := &stack{
		crm: sandbox.NewCRM(options.crm), site: sandbox.NewSite(options.site), rdb: server.Client(), options: options,
		requests: make(chan site.Request, 10000), begun: &begun{}, log: &logtest.Log{},
	}
	crm := httptest.NewServer(s.crm)
	t.Cleanup(crm.Close)
	s.web = httptest.NewServer(s.site)
	t.Cleanup(s.web.Close)
	t.Cleanup(s.crm.Close)
	t.Cleanup(s.site.Close)
	s.crmURL = crm.URL
	s.contacts, s.statuses = pending.New(s.rdb, pending.Options{}), throttle.NewStatuses(s.rdb, contact.DefaultSite, "", throttle.SiteFacts{})
	return s
}

// countingGate lets the stack count what a gate lets through.
type countingGate struct {
	*throttle.Gate
	s *stack
}

func (g countingGate) Begin(ctx context.Context) (end func(), wait time.Duration, err error) {
	end, wait, err = g.Gate.Begin(ctx)
	if end != nil {
		g.s.admitted.Add(1)
	}
	return end, wait, err
}

// work runs a worker until the test ends, put together as the program is.
func (s *stack) work(t *testing.T) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: s.rdb.Options().Addr, PoolSize: 2 * s.options.concurrency})
	t.Cleanup(func() { _ = rdb.Close() })
	budget, err := throttle.NewBudget(rdb, throttle.BudgetKey(""), s.options.rate, 0)
	require.NoError(t, err)
	s.budget = budget
	slots, err := throttle.NewSlots(rdb, throttle.SlotsKey(contact.DefaultSite), 1)
	require.NoError(t, err)
	pressing, err := guard.New(rdb, contact.DefaultSite, s.options.batch)
	require.NoError(t, err)
	crmBreaker, siteBreaker := throttle.NewTestBreaker(rdb, throttle.CRM, s.options.breaker), throttle.NewTestBreaker(rdb, throttle.Site, s.options.breaker)
	crm, err := pulse.New(pulse.Options{
		URL: s.crmURL, Tokens: pulse.Fixed("token"), Budget: budget, Breaker: crmBreaker, Concurrency: s.options.concurrency,
	})
	require.NoError(t, err)
	places := throttle.NewPlaces(rdb, throttle.PlacesKey(contact.DefaultSite))
	client, err := site.New(site.Options{
		URL: s.web.URL, User: s.options.site.User, AppPassword: s.options.site.AppPassword, Batch: s.options.batch,
		Slots: slots, Breaker: siteBreaker, Guard: pressing, UnderWay: places.UnderWay,
		Observe: func(r site.Request) {
			select {
			case s.requests <- r:
			default:
			}
		},
	})
	require.NoError(t, err)
	gate := throttle.NewGate(throttle.GateOptions{
		Places: places, Site: client, Budget: budget, Room: crm.Room, Breakers: []*throttle.Breaker{crmBreaker, siteBreaker},
	})
	w := worker.New(worker.Options{
		Redis: rdb,
		Sites: []worker.Site{{
			Name: contact.DefaultSite, Contacts: pending.New(rdb, pending.Options{}),
			Syncer: noting{syncer.New(crm, client, nil, syncer.Options{Fields: fields(t)}), s.begun},
			Gate:   countingGate{gate, s},
		}},
		Log: zerolog.New(s.log).Level(zerolog.InfoLevel), Registerer: prometheus.NewRegistry(), Concurrency: s.options.concurrency,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, client.Close(context.Background()))
	})
}

func fields(t *testing.T) contact.FieldMap {
	t.Helper()
	m, err := contact.ParseFieldMap("user_email=email,first_name=first_name,last_name=last_name")
	require.NoError(t, err)
	return m
}

// each calls act for every contact of the CRM, some at a time.
func (s *stack) each(t *testing.T, act func(ref contact.Ref) error) {
	t.Helper()
	var group errgroup.Group
	group.SetLimit(32)
	for _, id := range s.crm.IDs() {
		group.Go(func() error { return act(contact.Ref{Site: contact.DefaultSite, ID: id}) })
	}
	require.NoError(t, group.Wait())
}

// submit records a webhook for each contact of the CRM.
func (s *stack) submit(t *testing.T, action contact.Action) {
	t.Helper()
	s.each(t, func(ref contact.Ref) error {
		_, err := s.contacts.Submit(t.Context(), ref, contact.Intent{Action: action}, contact.Receipt{})
		return err
	})
}

func (s *stack) stats(t *testing.T) pending.Stats {
	t.Helper()
	stats, err := s.contacts.Stats(t.Context())
	require.NoError(t, err)
	return stats
}

// drained waits until no contact has outstanding work.
func (s *stack) drained(t *testing.T) {
	t.Helper()
	polltest.Until(t, 5*time.Minute, func() bool {
		stats := s.stats(t)
		return stats.Pending+stats.Active+stats.Retrying+stats.Parked == 0
	}, "contacts are left")
}

func (s *stack) states(t *testing.T) (crm, site string) {
	t.Helper()
	all, err := s.statuses.Read(t.Context())
	require.NoError(t, err)
	return all[0].State, all[1].State
}
