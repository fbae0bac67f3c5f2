package throttle_test

import (
	"context"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/pulse"
	"spillway/internal/throttle"
)

// limitRun lets replicas call a CRM that allows fewer calls than are set.
type limitRun struct {
	set, allowed float64 // calls per second
	replicas     int
	climb        time.Duration
	lasts        time.Duration
	latency      time.Duration
}

// found is what a run showed.
type found struct {
	answered, limited int64
	share             float64 // of calls that were answered 429
	reached           float64 // calls answered, of those allowed
	rate              float64 // the shared rate at the end
}

func (r limitRun) do(t *testing.T) found {
	t.Helper()
	server := redistest.Start(t)
	crm := sandbox.NewCRM(sandbox.CRMOptions{RatePerSecond: r.allowed, Latency: r.latency})
	crm.SeedWithTags(50, 3)
	web := httptest.NewServer(crm)
	t.Cleanup(web.Close)

	ctx, cancel := context.WithTimeout(t.Context(), r.lasts)
	defer cancel()
	start := time.Now()
	var group sync.WaitGroup
	var budget *throttle.Budget
	for range r.replicas {
		budget = newBudget(t, server.Client(), r.set, 0)
		budget.ClimbWithin(r.climb)
		client, err := pulse.New(pulse.Options{URL: web.URL, Tokens: pulse.Fixed("token"), Budget: budget})
		require.NoError(t, err)
		for i := range 16 {
			group.Go(func() {
				for ctx.Err() == nil {
					_, _ = client.Contact(ctx, strconv.Itoa(i+1)) // a 429 is what this is about
				}
			})
		}
	}
	group.Wait()
	took := time.Since(start).Seconds()
	stats := crm.Stats()
	rate, _, err := budget.Rate(t.Context())
	require.NoError(t, err)
	answered := stats.Total - stats.Limited
	return found{
		answered: answered, limited: stats.Limited, rate: rate,
		share:   float64(stats.Limited) / float64(stats.Total),
		reached: float64(answered) / (r.allowed * took),
	}
}

func TestAnUnknownLimitIsFoundAndKept(t *testing.T) {
	t.Parallel()
	run := limitRun{set: 160, allowed: 100, replicas: 4, climb: 2 * time.Second, lasts: 8 * time.Second, latency: 5 * time.Millisecond}
	got := run.do(t)
	t.Logf("%+v", got)
	require.Positive(t, got.limited, "the limit was met")
	require.Less(t, got.share, 0.05, "and hardly ever again")
	require.Greater(t, got.rate, run.allowed/3)
	require.LessOrEqual(t, got.rate, run.set, "never above what is configured")
}
