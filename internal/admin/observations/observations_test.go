package observations_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/admin/observations"
	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
)

func TestContactsCountOnceWithTheirLastPass(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	store := observations.New(rdb, "shop")
	report, err := store.Report(t.Context())
	require.NoError(t, err)
	require.True(t, report.Began.IsZero())

	note := func(id string, result contact.Result) { require.NoError(t, store.Note(t.Context(), id, result)) }
	note("1", contact.Result{Outcome: contact.Updated, UserID: 4, Observed: &contact.Observation{Keys: []string{"old"}}})
	for range 2 {
		note("1", contact.Result{
			Outcome: contact.Updated, UserID: 4, Notes: []string{"role_kept", "other_contact:17"},
			Observed: &contact.Observation{Keys: []string{"city", "box"}, TagsAdded: []string{"24"}, TagsRemoved: []string{"7"}},
		})
	}
	note("12", contact.Result{Outcome: contact.Updated, UserID: 5, Observed: &contact.Observation{Keys: []string{"city"}, Role: "customer"}})
	note("3", contact.Result{Outcome: contact.Created, Observed: &contact.Observation{Keys: []string{"city"}, TagsAdded: []string{"24"}, Role: "customer"}})
	note("4", contact.Result{Outcome: contact.Parking, Observed: &contact.Observation{Code: "no_email", Message: "an address is missing"}})
	require.NoError(t, observations.New(rdb, "other").Note(t.Context(), "9", contact.Result{Outcome: contact.Skipped}))

	report, err = store.Report(t.Context())
	require.NoError(t, err)
	require.Equal(t, 4, report.Contacts)
	require.Equal(t, map[contact.Outcome]int{contact.Updated: 2, contact.Created: 1, contact.Parking: 1}, report.Outcomes)
	require.Equal(t, []observations.Count{{"city", 2, []string{"1", "12"}}, {"box", 1, []string{"1"}}}, report.Keys, "of existing users")
	require.Equal(t, []observations.Count{{"24", 1, []string{"1"}}}, report.TagsAdded)
	require.Equal(t, []observations.Count{{"7", 1, []string{"1"}}}, report.TagsRemoved)
	require.Equal(t, []observations.Count{{"customer", 1, []string{"12"}}}, report.Roles)
	require.Equal(t, []observations.Count{{"no_email", 1, []string{"4"}}}, report.Parked)
	require.Equal(t, []observations.Count{{"other_contact", 1, []string{"1"}}, {"role_kept", 1, []string{"1"}}}, report.Notes)
	require.False(t, report.Began.IsZero())

	require.NoError(t, store.Reset(t.Context()))
	report, err = store.Report(t.Context())
	require.NoError(t, err)
	require.Zero(t, report.Contacts)
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	store := observations.New(rdb, "shop")
	long := contact.Result{Outcome: contact.Updated, Observed: &contact.Observation{}}
	for i := range 500 {
		long.Observed.Keys = append(long.Observed.Keys, strings.Repeat("k", 200)+strconv.Itoa(i))
		long.Observed.TagsAdded = append(long.Observed.TagsAdded, strconv.Itoa(i))
	}
	require.NoError(t, store.Note(t.Context(), "7", long))
	const most, bytes = 50_000, 500
	text, err := rdb.HGet(t.Context(), "spw:observed:shop", "7").Result()
	require.NoError(t, err)
	require.LessOrEqual(t, len(text), bytes)
	report, err := store.Report(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, report.Cut)
	require.NotEmpty(t, report.TagsAdded)

	// As many as there is room for, each as long as can be.
	var entries []any
	for id := 1000; id < 1000+most-1; id++ {
		entries = append(entries, strconv.Itoa(id), text)
	}
	for chunk := range slices.Chunk(entries, 2000) {
		require.NoError(t, rdb.HSet(t.Context(), "spw:observed:shop", chunk...).Err())
	}
	memory, err := rdb.MemoryUsage(t.Context(), "spw:observed:shop", 0).Result()
	require.NoError(t, err)
	t.Logf("%.1f MB at most", float64(memory)/1e6)
	require.Less(t, memory, int64(40e6))
	for range 3 {
		require.NoError(t, store.Note(t.Context(), "1", long))
	}
	require.NoError(t, store.Note(t.Context(), "7", contact.Result{Outcome: contact.Unchanged}))
	report, err = store.Report(t.Context())
	require.NoError(t, err)
	require.Equal(t, most, report.Contacts)
	require.EqualValues(t, 3, report.Beyond)
	require.Equal(t, 1, report.Outcomes[contact.Unchanged], "a contact that is known is followed")
	require.Positive(t, rdb.TTL(t.Context(), "spw:observed:shop").Val())
}
