package assembly

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/config"
	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/throttle"
)

func TestNobodyIsToWaitWhileNoPassBegins(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	held := held(Systems(rdb, config.Config{OfSite: config.OfSite{Name: contact.DefaultSite}}))
	require.False(t, held(t.Context()))

	budget, err := throttle.NewBudget(rdb, throttle.BudgetKey(""), 40, 0)
	require.NoError(t, err)
	budget.Limited(t.Context(), time.Minute)
	require.True(t, held(t.Context()), "the CRM holds everybody back")
	require.NoError(t, rdb.FlushAll(t.Context()).Err())
	require.False(t, held(t.Context()))

	require.NoError(t, rdb.HSet(t.Context(), "spw:{crm}:breaker", "state", throttle.Open).Err())
	require.True(t, held(t.Context()), "the CRM is away")
	require.NoError(t, rdb.FlushAll(t.Context()).Err())
	server.Kill()
	require.True(t, held(t.Context()), "nothing is known")
}
