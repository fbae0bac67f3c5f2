package config_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/config"
)

func TestScheduleIsUTCUnlessItSaysOtherwise(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"30 3 * * *":                       from.Add(3*time.Hour + 30*time.Minute),
		"CRON_TZ=Europe/Berlin 30 3 * * *": from.Add(time.Hour + 30*time.Minute),
		"@daily":                           from.Add(24 * time.Hour),
	} {
		schedule, err := config.ParseSchedule(text)
		require.NoError(t, err, text)
		require.True(t, want.Equal(schedule.Next(from)), "%s: %v", text, schedule.Next(from))
	}
	for _, text := range []string{"nightly", "3 * * *", "61 3 * * *", "@every 1h", "CRON_TZ=Mars/Base 30 3 * * *", "CRON_TZ=UTC", "CRON_TZ=", "0 3 31 2 *"} {
		_, err := config.ParseSchedule(text)
		require.ErrorContains(t, err, "use the five fields", text)
	}
	_, err := config.Load(config.Operator, nil, []string{"SPILLWAY_RECONCILE=every night"})
	require.ErrorContains(t, err, "SPILLWAY_RECONCILE")
	settings, err := config.Load(config.Operator, nil, []string{"SPILLWAY_RECONCILE=30 3 * * *"})
	require.NoError(t, err)
	require.Equal(t, "30 3 * * *", settings.Reconcile)
}
