package metrics_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/assembly/metrics"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
	"spillway/internal/pulse"
	"spillway/internal/site"
	"spillway/internal/throttle"
)

// compare requires that the collector exposes its metrics as given, help and
// type left out.
func compare(t *testing.T, collector prometheus.Collector, want string) {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)
	require.Equal(t, strings.TrimSpace(want), exposed(t, registry))
}

// exposed returns the lines of a registry's metrics that have these names, or
// all.
func exposed(t *testing.T, registry *prometheus.Registry, names ...string) string {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	var text strings.Builder
	for _, family := range families {
		if len(names) == 0 || slices.Contains(names, family.GetName()) {
			_, err = expfmt.MetricFamilyToText(&text, family)
			require.NoError(t, err)
		}
	}
	var lines []string
	for line := range strings.Lines(text.String()) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

// only is an installation of one site.
func only(read stats) func() map[string]metrics.Stats {
	return func() map[string]metrics.Stats { return map[string]metrics.Stats{"default": read} }
}

type stats func(ctx context.Context) (pending.Stats, error)

func (s stats) Stats(ctx context.Context) (pending.Stats, error) { return s(ctx) }

func TestContactsByStateAndEventsAreExposed(t *testing.T) {
	t.Parallel()
	compare(t, metrics.Contacts(only(func(context.Context) (pending.Stats, error) {
		return pending.Stats{Received: 9, Coalesced: 4, Synced: 3, Failed: 2, Pending: 5, Active: 1, Retrying: 7, Parked: 8, Paused: true, LastWebhook: time.UnixMilli(1_800_000_000_250)}, nil
	})), `
spillway_events_total{event="coalesced",site="default"} 4
spillway_events_total{event="failed",site="default"} 2
spillway_events_total{event="received",site="default"} 9
spillway_events_total{event="synced",site="default"} 3
spillway_last_webhook_timestamp_seconds{site="default"} 1.80000000025e+09
spillway_oldest_pending_seconds{site="default"} 0
spillway_paused{site="default"} 1
spillway_pending_contacts{site="default",state="active"} 1
spillway_pending_contacts{site="default",state="parked"} 8
spillway_pending_contacts{site="default",state="pending"} 5
spillway_pending_contacts{site="default",state="retrying"} 7
`)
}

func TestTheBacklogHasAnAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		oldest := time.Now()
		time.Sleep(90 * time.Second) // in the bubble: no time passes outside
		registry := prometheus.NewRegistry()
		registry.MustRegister(metrics.Contacts(only(func(context.Context) (pending.Stats, error) {
			return pending.Stats{Pending: 1, Oldest: oldest}, nil
		})))
		require.Equal(t, `spillway_oldest_pending_seconds{site="default"} 90`, exposed(t, registry, "spillway_oldest_pending_seconds"))
	})
}

func TestScrapesShareAReadingAndNeverWaitLongForOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var readings atomic.Int64
		release := make(chan struct{})
		registry := prometheus.NewRegistry()
		registry.MustRegister(metrics.Contacts(only(func(context.Context) (pending.Stats, error) {
			n := readings.Add(1)
			if n > 1 {
				<-release // deaf to its context, as a patient client is
			}
			return pending.Stats{Pending: n}, nil
		})))
		scrape := func() string { return exposed(t, registry, "spillway_pending_contacts") }
		require.Contains(t, scrape(), `{site="default",state="pending"} 1`)
		require.Contains(t, scrape(), `{site="default",state="pending"} 1`)
		require.EqualValues(t, 1, readings.Load(), "each scrape of one second read again")

		time.Sleep(time.Second) // in the bubble: no time passes outside
		began := time.Now()
		require.Empty(t, scrape())
		require.Equal(t, 2*time.Second, time.Since(began))
		require.Empty(t, scrape())
		require.EqualValues(t, 2, readings.Load(), "a second reading began beside the first")
		close(release)
		synctest.Wait()
		require.Contains(t, scrape(), `{site="default",state="pending"} 2`)
	})
}

type statuses []throttle.Status

func (s statuses) Read(context.Context) ([]throttle.Status, error) { return s, nil }

func TestABreakerHasASeriesForEachState(t *testing.T) {
	t.Parallel()
	compare(t, metrics.Systems(func() map[string]metrics.Statuses {
		return map[string]metrics.Statuses{"default": statuses{
			{System: "crm", State: "closed", Facts: map[string]float64{"rate_per_second": 40}},
			{System: "site", State: "open"},
		}}
	}), `
spillway_breaker_state{site="default",state="closed",system="crm"} 1
spillway_breaker_state{site="default",state="closed",system="site"} 0
spillway_breaker_state{site="default",state="half_open",system="crm"} 0
spillway_breaker_state{site="default",state="half_open",system="site"} 0
spillway_breaker_state{site="default",state="open",system="crm"} 0
spillway_breaker_state{site="default",state="open",system="site"} 1
spillway_system_fact{fact="rate_per_second",site="default",system="crm"} 40
`)
}

func TestRedisTellsItsLimitsAndWhetherItKeepsThings(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "no")
	client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = client.Close() })
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.Redis(client))
	got := exposed(t, registry)
	for _, line := range []string{
		"spillway_redis_up 1", "spillway_redis_memory_limit_bytes 6.7108864e+07", "spillway_redis_evicts 1",
		"spillway_redis_evicted_keys_total 0", "spillway_redis_append_only 0", "spillway_redis_append_only_ok 1",
	} {
		require.Contains(t, got+"\n", line+"\n")
	}
	require.Regexp(t, `spillway_redis_memory_used_bytes [1-9]`, got)

	server.Kill()
	polltest.Until(t, 15*time.Second, func() bool { return exposed(t, registry) == "spillway_redis_up 0" }, "Redis is shown as down")
}

func TestRedisThatRefusesInfoIsUp(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	require.NoError(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "limited", "on", ">pw", "~*", "+@all", "-info").Err())
	limited := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "limited", Password: "pw"})
	t.Cleanup(func() { _ = limited.Close() })
	compare(t, metrics.Redis(limited), "spillway_redis_up 1")
}

func TestQueuesAreCountedAndWorkersOfOthersAreNot(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	none := `
spillway_queue_latency_seconds{queue="spillway"} 0
spillway_queue_tasks{queue="spillway",state="active"} 0
spillway_queue_tasks{queue="spillway",state="archived"} 0
spillway_queue_tasks{queue="spillway",state="pending"} 0
spillway_queue_tasks{queue="spillway",state="retry"} 0
spillway_queue_tasks{queue="spillway",state="scheduled"} 0
spillway_workers 0
`
	compare(t, metrics.Queues(client, func() []string { return []string{"spillway"} }), none)

	tasks := asynq.NewClientFromRedisClient(client)
	_, err := tasks.EnqueueContext(t.Context(), asynq.NewTask("contact", nil), asynq.Queue("spillway"), asynq.ProcessIn(time.Hour))
	require.NoError(t, err)
	for _, queue := range []string{"spillway", "another-program"} {
		worker := asynq.NewServerFromRedisClient(client, asynq.Config{Queues: map[string]int{queue: 1}, LogLevel: asynq.FatalLevel})
		require.NoError(t, worker.Start(asynq.NewServeMux()))
		t.Cleanup(worker.Shutdown)
	}
	want := strings.TrimSpace(strings.NewReplacer(`state="scheduled"} 0`, `state="scheduled"} 1`, "workers 0", "workers 1").Replace(none))
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.Queues(client, func() []string { return []string{"spillway"} }))
	polltest.Until(t, 15*time.Second, func() bool { return exposed(t, registry) == want }, "the workers are counted")
}

func TestPoolsAreNamedByTheirUse(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	require.NoError(t, client.Ping(t.Context()).Err())
	compare(t, metrics.Pools(map[string]redis.UniversalClient{"ingest": client}), `
spillway_redis_pool_connections{client="ingest",state="idle"} 1
spillway_redis_pool_connections{client="ingest",state="in_use"} 0
spillway_redis_pool_hits_total{client="ingest"} 0
spillway_redis_pool_misses_total{client="ingest"} 1
spillway_redis_pool_stale_connections_total{client="ingest"} 0
spillway_redis_pool_timeouts_total{client="ingest"} 0
`)
}

func TestCallsAreCountedByRouteAndCode(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	call := metrics.CRMCalls(registry)("default")
	call(pulse.Call{Route: "tags", Status: 200, Duration: time.Second})
	call(pulse.Call{Route: "tags", Status: 429})
	call(pulse.Call{Route: "token"})
	require.Equal(t, strings.TrimSpace(`
spillway_crm_requests_total{code="200",route="contact",site="default"} 0
spillway_crm_requests_total{code="200",route="tags",site="default"} 1
spillway_crm_requests_total{code="200",route="update",site="default"} 0
spillway_crm_requests_total{code="429",route="tags",site="default"} 1
spillway_crm_requests_total{code="none",route="token",site="default"} 1
`), exposed(t, registry, "spillway_crm_requests_total"))

	request := metrics.SiteRequests(registry)("default")
	request(site.Request{Contacts: 50, Took: time.Second, Outcome: "answered"})
	got := exposed(t, registry)
	require.Contains(t, got, `spillway_site_requests_total{outcome="answered",site="default"} 1`)
	require.Contains(t, got, `spillway_site_requests_total{outcome="outage",site="default"} 0`)
	require.Contains(t, got, `spillway_site_batch_size_sum{site="default"} 50`)
	require.Contains(t, got, `spillway_site_request_duration_seconds_bucket{site="default",le="1"} 1`)
}
