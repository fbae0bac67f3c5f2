package history_test

import (
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
)

var ref = contact.Ref{Site: contact.DefaultSite, ID: "7"}

// pass takes a webhook through a pass that ends as end says.
func pass(t *testing.T, contacts *pending.Contacts, rdb *redis.Client, end func(*pending.Claim) error) {
	t.Helper()
	_, err := contacts.Submit(t.Context(), ref, contact.Intent{Action: contact.Update}, contact.Receipt{RequestID: "r1"})
	require.NoError(t, err)
	epoch, err := rdb.HGet(t.Context(), "spw:{spillway}:c:default:7", "epoch").Result()
	require.NoError(t, err)
	claim, err := contacts.Claim(t.Context(), ref.String()+":"+epoch)
	require.NoError(t, err)
	require.NoError(t, end(claim))
}

func TestTimelineKeepsTheNewestEventsAndTheLastSync(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	timelines, contacts := history.New(rdb, contact.DefaultSite, 1), pending.New(rdb, pending.Options{})

	events, last, err := timelines.Timeline(t.Context(), ref)
	require.NoError(t, err)
	require.Empty(t, events)
	require.True(t, last.IsZero())

	synced := time.Date(2026, 1, 2, 3, 4, 5, 6000000, time.UTC)
	pass(t, contacts, rdb, func(claim *pending.Claim) error {
		event := history.Event{
			Time: synced, Kind: history.Synced, Outcome: "created", UserID: 3, PasswordReturned: true,
			Webhooks: claim.Webhooks, Covered: claim.Covered, RequestID: claim.RequestID,
		}
		_, err := claim.Finish(t.Context(), event.Encode())
		return err
	})
	events, last, err = timelines.Timeline(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, synced, last)
	require.Len(t, events, 1)
	require.True(t, events[0].PasswordReturned)
	require.Equal(t, 1, events[0].Covered)
	require.Len(t, events[0].Webhooks, 1)
	require.Equal(t, contact.Update, events[0].Webhooks[0].Action)
	require.Equal(t, "r1", events[0].Webhooks[0].RequestID)
	require.WithinDuration(t, time.Now(), events[0].Webhooks[0].At, time.Minute)

	fail := func(code string) {
		pass(t, contacts, rdb, func(claim *pending.Claim) error {
			event := history.Event{Time: time.Now(), Kind: history.Retrying, Action: "update", Code: code, Error: "away", Covered: 1}
			return claim.Retry(t.Context(), 0, false, pending.Failure{Code: code}, event.Encode())
		})
	}
	began := time.Now()
	for range 40 {
		fail("outage")
	}
	events, _, err = timelines.Timeline(t.Context(), ref)
	require.NoError(t, err)
	require.Len(t, events, 2, "what repeats itself is counted")
	require.Equal(t, "outage", events[0].Code)
	require.Equal(t, 40, events[0].Times)
	require.Equal(t, 40, events[0].Covered)
	require.WithinDuration(t, began, events[0].First, time.Minute)
	require.False(t, events[0].First.After(events[0].Time))

	for n := range 40 {
		fail("code_" + strconv.Itoa(n%2))
	}
	events, last, err = timelines.Timeline(t.Context(), ref)
	require.NoError(t, err)
	require.Len(t, events, 9, "8 and the last sync")
	require.Equal(t, "code_1", events[0].Code)
	require.Zero(t, events[0].Times)
	require.Equal(t, synced, last)
	for _, key := range []string{"spw:{spillway}:h:default:7", "spw:{spillway}:h:default:7:last"} {
		ttl, err := rdb.TTL(t.Context(), key).Result()
		require.NoError(t, err)
		require.Positive(t, ttl, key)
	}
}

func TestAnEventIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000000, time.UTC)
	for _, event := range []history.Event{
		{
			Time: at, Kind: history.Synced, Action: "add", Outcome: "created", UserID: 42, Role: "customer",
			Notes: []string{"role_unknown", "field_kept:user_url"}, Waited: 1500, Took: 250, PasswordReturned: true, Covered: 12,
			Webhooks: []contact.Receipt{
				{At: at, Action: contact.Update}, {At: at, Action: contact.Add, RequestID: "r 1"}, {At: at, Action: contact.Add, RequestID: "r2"},
			}, RequestID: "r2",
		},
		{Time: at, Kind: history.Retrying, Action: "update", Code: "outage", Error: `the site {"broke"} % off`, Waited: 1, Covered: 3, RequestID: "r3"},
		{Time: at, Kind: history.Parked, Action: "add", Code: "no_email", Error: "the contact has none"},
		{Time: at, Kind: history.Dropped, Action: "add", Notes: []string{"by the operator"}},
	} {
		read, ok := history.Decode(event.Encode())
		require.True(t, ok)
		require.Equal(t, event, read)
	}

	long := history.Event{Time: at, Kind: history.Parked, Error: strings.Repeat("ä", 400)}
	for n := range 8 {
		long.Webhooks = append(long.Webhooks, contact.Receipt{At: at, RequestID: strconv.Itoa(n)})
	}
	read, ok := history.Decode(long.Encode())
	require.True(t, ok)
	require.Len(t, read.Webhooks, 3)
	require.Equal(t, "7", read.Webhooks[2].RequestID)
	require.True(t, utf8.ValidString(read.Error))
	require.Less(t, len(read.Error), 210)

	for _, other := range []string{"", "event", "{}", `+{"time":"2026-01-02T03:04:05Z","kind":"synced"}`, "-x 1 {"} {
		_, ok := history.Decode(other)
		require.False(t, ok, other)
	}
}

func TestSeriesCountsWhatHappenedInAMinuteAndInAnHour(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	timelines, contacts := history.New(rdb, contact.DefaultSite, 1), pending.New(rdb, pending.Options{})
	for range 2 {
		_, err := contacts.Submit(t.Context(), ref, contact.Intent{Action: contact.Update}, contact.Receipt{})
		require.NoError(t, err)
	}
	pass(t, contacts, rdb, func(claim *pending.Claim) error {
		return claim.Retry(t.Context(), 0, true, pending.Failure{Code: "failed"}, "event")
	})
	pass(t, contacts, rdb, func(claim *pending.Claim) error {
		_, err := claim.Finish(t.Context(), "event")
		return err
	})
	pass(t, contacts, rdb, func(claim *pending.Claim) error {
		_, err := claim.Park(t.Context(), pending.Failure{Code: "no_email"}, "event")
		return err
	})
	// An old count, and one that is not kept any more.
	hour := time.Now().Add(-3*time.Hour).Unix() / 3600
	require.NoError(t, rdb.HSet(t.Context(), "spw:{spillway}:n:m:"+itoa(hour), "0:synced", 5).Err())

	for _, step := range []history.Step{history.Minute, history.Hour} {
		points, err := timelines.Series(t.Context(), step, 10)
		require.NoError(t, err)
		require.Len(t, points, 10)
		var sum history.Point
		for i, point := range points {
			if i > 0 {
				require.Equal(t, time.Duration(step), point.At.Sub(points[i-1].At))
			}
			sum.Received += point.Received
			sum.Coalesced += point.Coalesced
			sum.Synced += point.Synced
			sum.Failed += point.Failed
			sum.Parked += point.Parked
		}
		require.Equal(t, history.Point{Received: 5, Coalesced: 3, Synced: 1, Failed: 2, Parked: 1}, sum)
		require.WithinDuration(t, time.Now(), points[9].At, time.Duration(step)+time.Minute)
	}
	points, err := timelines.Series(t.Context(), history.Minute, 1<<20)
	require.NoError(t, err)
	require.Len(t, points, 24*60)
	var synced int64
	for _, point := range points {
		synced += point.Synced
	}
	require.Equal(t, int64(6), synced)
	_, err = timelines.Series(t.Context(), history.Step(time.Second), 3)
	require.ErrorContains(t, err, "per minute and per hour")

	keys, err := rdb.Keys(t.Context(), "spw:{spillway}:n:*").Result()
	require.NoError(t, err)
	for _, key := range keys {
		if ttl, err := rdb.TTL(t.Context(), key).Result(); key != "spw:{spillway}:n:m:"+itoa(hour) {
			require.NoError(t, err)
			require.Positive(t, ttl, key)
		}
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
