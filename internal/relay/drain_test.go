package relay_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
	"spillway/internal/relay"
	"spillway/internal/site/guard"
	"spillway/internal/throttle"
	"spillway/internal/worker"
)

const (
	shortLock    = 1500 * time.Millisecond
	shortTimeout = 700 * time.Millisecond
)

// fusion is WP Fusion as far as a relay sees it: it reads a contact when its
// request begins, stores it when the request ends, and ignores others for the
// same contact meanwhile, or for as long as its lock lasts.
type fusion struct {
	mu       sync.Mutex
	crm      map[string]int // edits
	site     map[string]int // the last one that was stored
	locks    map[string]time.Time
	faults   []string // of the first requests
	under    int
	overlaps int
	requests int
}

func (f *fusion) edit(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crm[id]++
}

// enter begins a request; busy says that WP Fusion ignores it.
func (f *fusion) enter(id string) (fault string, version int, busy bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.under++; f.under > 1 {
		f.overlaps++
	}
	if f.requests < len(f.faults) {
		fault = f.faults[f.requests]
	}
	f.requests++
	if busy = time.Now().Before(f.locks[id]); !busy && fault != "away" && fault != "captcha" {
		f.locks[id] = time.Now().Add(shortLock - 100*time.Millisecond)
	}
	return fault, f.crm[id], busy
}

func (f *fusion) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.under--
}

func (f *fusion) store(id string, version int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.site[id] = version
	delete(f.locks, id)
}

func (f *fusion) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if query.Get("wpf_action") == "test" {
		_, _ = w.Write([]byte(`{"success":true}`))
		return
	}
	id := query.Get("contact_id")
	fault, version, busy := f.enter(id)
	switch {
	case fault == "hangs": // not under way for the relay once it has given up
		f.leave()
		<-r.Context().Done()
		f.store(id, version)
		return
	case busy:
		_, _ = w.Write([]byte(page("Doing it wrong", "Doing it wrong: An update webhook is already being processed for contact #"+id)))
	case fault == "away":
		w.WriteHeader(http.StatusServiceUnavailable)
	case fault == "captcha":
		w.Header().Set("Sg-Captcha", "challenge")
	case fault == "dies":
		w.WriteHeader(http.StatusInternalServerError)
	case fault == "breaks":
		f.store(id, version)
		f.leave()
		panic(http.ErrAbortHandler)
	default:
		time.Sleep(3 * time.Millisecond) // others would meet it
		f.store(id, version)
		_, _ = w.Write([]byte(page("Success", "<h3>Success</h3>Updated tags:<pre>Array\n(\n)\n</pre>")))
	}
	f.leave()
}

func (f *fusion) seen() (crm, site map[string]int, overlaps, requests int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.crm), maps.Clone(f.site), f.overlaps, f.requests
}

// replica runs a worker of its own connections until the test ends.
func replica(t *testing.T, rdb *redis.Client, address string) {
	t.Helper()
	slots, err := throttle.NewSlots(rdb, throttle.SlotsKey(contact.DefaultSite), 1)
	require.NoError(t, err)
	pressing, err := guard.New(rdb, contact.DefaultSite, 1)
	require.NoError(t, err)
	breaker := throttle.NewBreaker(rdb, throttle.Site, contact.DefaultSite, 5)
	places := throttle.NewPlaces(rdb, throttle.PlacesKey(contact.DefaultSite))
	c := client(t, address, func(o *relay.Options) {
		o.Slots, o.Breaker, o.Guard, o.Timeout, o.Lock = slots, breaker, pressing, shortTimeout, shortLock
	})
	w := worker.New(worker.Options{
		Redis: rdb, Concurrency: 16, Log: zerolog.Nop(), Registerer: prometheus.NewRegistry(), SweepInterval: 500 * time.Millisecond,
		Sites: []worker.Site{{
			Name: contact.DefaultSite, Contacts: pending.New(rdb, pending.Options{}), Syncer: &relay.Passes{Site: c},
			Gate: throttle.NewGate(throttle.GateOptions{Places: places, Site: c, Breakers: []*throttle.Breaker{breaker}}),
		}},
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
}

// Two workers, few contacts with many edits, and an endpoint that fails in every
// way: no edit is lost, and no request meets another one.
func TestTheLastEditWinsWhateverTheEndpointDoes(t *testing.T) {
	t.Parallel()
	f := &fusion{crm: map[string]int{}, site: map[string]int{}, locks: map[string]time.Time{}}
	for _, fault := range []string{"hangs", "dies", "breaks", "away", "captcha"} {
		f.faults = append(f.faults, fault, "")
	}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	redisServer := redistest.Start(t)
	for range 2 {
		replica(t, redisServer.Client(), server.URL)
	}
	contacts := pending.New(redisServer.Client(), pending.Options{})
	const ids, edits = 8, 12
	for edit := range edits {
		for id := range ids {
			name := strconv.Itoa(id + 1)
			f.edit(name)
			_, err := contacts.Submit(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: name}, contact.Intent{Action: contact.Update}, contact.Receipt{})
			require.NoError(t, err, "edit %d", edit)
		}
	}
	var last string
	polltest.Until(t, 90*time.Second, func() bool {
		stats, err := contacts.Stats(t.Context())
		require.NoError(t, err)
		crm, site, _, _ := f.seen()
		last = fmt.Sprintf("%+v, crm %v, site %v", stats, crm, site)
		return stats.Pending+stats.Active+stats.Retrying+stats.Parked == 0
	}, "all are synced, none is parked")
	crm, site, overlaps, requests := f.seen()
	require.Equal(t, crm, site, last)
	require.Zero(t, overlaps)
	require.Greater(t, requests, len(f.faults), "each fault was met")
}
