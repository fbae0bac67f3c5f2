package comparisons_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/admin/comparisons"
	"spillway/internal/lab/redistest"
)

func TestComparisonIsKeptWithWhatTheOneBeforeFound(t *testing.T) {
	t.Parallel()
	store := comparisons.New(redistest.Start(t).Client())
	_, ok, err := store.Read(t.Context(), "default")
	require.NoError(t, err)
	require.False(t, ok)

	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first := comparisons.Comparison{Site: "default", By: comparisons.ByCommand, Began: began, Ended: began.Add(time.Minute), Differences: map[string]int{"tags_missing": 2}}
	require.NoError(t, store.Write(t.Context(), first))
	kept, ok, err := store.Read(t.Context(), "default")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, first, kept)
	require.False(t, kept.Grown(), "there is nothing to grow from")

	require.NoError(t, store.Fail(t.Context(), "default", began.Add(time.Hour), "the CRM is away"))
	kept, _, err = store.Read(t.Context(), "default")
	require.NoError(t, err)
	require.Equal(t, "the CRM is away", kept.Failure)
	require.Equal(t, 2, kept.Total(), "of the last one that came to its end")

	second := first
	second.Differences = map[string]int{"tags_missing": 2, "two_users": 1}
	require.NoError(t, store.Write(t.Context(), second))
	kept, _, err = store.Read(t.Context(), "default")
	require.NoError(t, err)
	require.Empty(t, kept.Failure)
	require.Equal(t, first.Differences, kept.Before)
	require.True(t, kept.Grown())

	_, ok, err = store.Read(t.Context(), "another")
	require.NoError(t, err)
	require.False(t, ok)
}
