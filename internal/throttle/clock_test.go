package throttle_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/throttle"
)

// setBack makes the times in a hash those of a clock that was a day ahead.
func setBack(t *testing.T, rdb *redis.Client, key string, names ...string) {
	t.Helper()
	fields := rdb.HGetAll(t.Context(), key).Val()
	require.NotEmpty(t, fields["now"])
	for _, name := range append(names, "now") {
		if ms, err := strconv.ParseFloat(fields[name], 64); err == nil {
			ahead := strconv.FormatFloat(ms+float64((24*time.Hour).Milliseconds()), 'f', 3, 64)
			require.NoError(t, rdb.HSet(t.Context(), key, name, ahead).Err())
		}
	}
}

func TestABudgetGoesOnWhenTheClockOfRedisGoesBack(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	budget := newBudget(t, rdb, 10, 1)
	for range 2 {
		require.NoError(t, budget.Wait(t.Context()))
	}
	budget.Limited(t.Context(), 5*time.Second)
	setBack(t, rdb, budgetKey, "line", "began", "until", "seen", "turn")

	other := newBudget(t, rdb, 10, 1)
	_, hold, err := other.Rate(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, hold, 5*time.Second)
	require.Greater(t, hold, time.Second, "the rest of a hold is kept")
	ok, wait, err := other.Begin(t.Context())
	require.NoError(t, err)
	require.False(t, ok)
	require.LessOrEqual(t, wait, 5*time.Second)
	require.NoError(t, other.Wait(t.Context()))
}

func TestABreakerGoesOnWhenTheClockOfRedisGoesBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	const key = "spw:{crm}:breaker"
	times := []string{"since", "retry_at", "seen", "probe_until", "closed_at"}
	first := throttle.NewTestBreaker(rdb, throttle.CRM, throttle.BreakerOptions{First: time.Second, Ramp: 3 * time.Second})
	fail(t, first, 10)
	setBack(t, rdb, key, times...)
	end, ok := admitted(t.Context(), first, 10*time.Second)
	require.True(t, ok, "an open breaker lets a probe through")
	first.Succeeded(t.Context())
	end()
	require.Equal(t, throttle.Closed, status(t, throttle.NewStatuses(rdb, contact.DefaultSite, "", throttle.SiteFacts{})).State)
	setBack(t, rdb, key, times...)
	for range 20 {
		end, ok := admitted(t.Context(), first, 10*time.Second)
		require.True(t, ok, "passes begin bit by bit")
		end()
	}
}
