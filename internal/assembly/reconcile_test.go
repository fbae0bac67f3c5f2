package assembly

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/admin/comparisons"
	"spillway/internal/config"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/operate/reconcile"
)

func TestNewestTimeOfAScheduleIsDueForSixHours(t *testing.T) {
	t.Parallel()
	schedule, err := config.ParseSchedule("30 3 * * *")
	require.NoError(t, err)
	day := time.Date(2026, 5, 6, 0, 0, 0, 0, time.UTC)
	due := day.Add(3*time.Hour + 30*time.Minute)
	require.True(t, lastDue(schedule, due.Add(-time.Second)).IsZero())
	require.True(t, due.Equal(lastDue(schedule, due)))
	require.True(t, due.Equal(lastDue(schedule, due.Add(5*time.Hour))))
	require.True(t, lastDue(schedule, due.Add(7*time.Hour)).IsZero())
}

func TestScheduledComparisonRunsOnceOverAllWorkers(t *testing.T) {
	t.Parallel()
	stand, err := sandbox.Serve(sandbox.Options{
		CRM:  sandbox.CRMOptions{Token: "a-token"},
		Site: sandbox.SiteOptions{User: "spillway", AppPassword: "an app password", StartCost: -1, ContactCost: -1},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	for id := 1; id <= 20; id++ {
		text := strconv.Itoa(id)
		address := "c" + text + "@example.com"
		stand.CRM.Put(text, map[string]any{"email": address}, []int{7})
		user := stand.Site.CreateUser(sandbox.NewUser{Login: address, Email: address, Password: "x", ContactID: text})
		stand.Site.SetTags(user, "7")
	}
	server := redistest.Start(t)
	settings, err := config.Load(config.Worker, nil, []string{
		"SPILLWAY_REDIS_URL=" + server.URL(), "SPILLWAY_CRM_URL=" + stand.CRMURL, "SPILLWAY_CRM_TOKEN=a-token", "SPILLWAY_CRM_RATE=1000",
		"SPILLWAY_SITE_URL=" + stand.SiteURL, "SPILLWAY_SITE_USER=spillway", "SPILLWAY_SITE_APP_PASSWORD=an app password",
		"SPILLWAY_RECONCILE=* * * * *",
	})
	require.NoError(t, err)
	schedule := once{due: time.Now().Add(-time.Hour).Truncate(time.Second)}
	for range 3 {
		require.NoError(t, compareIfDue(t.Context(), server.Client(), settings, schedule, zerolog.Nop()))
	}
	require.EqualValues(t, 1, stand.CRM.Stats().Calls["all_tags"], "once for a time of the schedule")
	last, ok, err := comparisons.New(server.Client()).Read(t.Context(), "default")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, comparisons.BySchedule, last.By)
	require.Equal(t, 20, last.Contacts)
	require.Zero(t, last.Total())
	require.Positive(t, last.Calls)

	// While a person compares, no worker does.
	_, release, err := reconcile.NewLock(server.Client(), "default").Take(t.Context())
	require.NoError(t, err)
	require.NoError(t, compareIfDue(t.Context(), server.Client(), settings, once{due: time.Now().Add(-time.Minute).Truncate(time.Second)}, zerolog.Nop()))
	require.EqualValues(t, 1, stand.CRM.Stats().Calls["all_tags"])
	release()
}

// once is a schedule with one time.
type once struct{ due time.Time }

func (a once) Next(after time.Time) time.Time {
	if a.due.After(after) {
		return a.due
	}
	return time.Time{}
}
