package worker_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/logtest"
	"spillway/internal/lab/polltest"
	"spillway/internal/pending"
	"spillway/internal/worker"
)

func updated(context.Context, contact.Ref, contact.Intent) (contact.Result, error) {
	return contact.Result{Outcome: contact.Updated, UserID: 42}, nil
}

func TestPauseHoldsWorkOnAllReplicas(t *testing.T) {
	b := setup(t)
	b.contacts = pending.New(b.rdb, pending.Options{Queues: 3})
	var passes atomic.Int64
	pass := func(context.Context, contact.Ref, contact.Intent) (contact.Result, error) {
		passes.Add(1)
		return contact.Result{Outcome: contact.Updated}, nil
	}
	for range 2 {
		b.start(t, pass)
	}
	first := contact.Ref{Site: contact.DefaultSite, ID: "1000"}
	b.submit(t, first, upd)
	b.eventually(t, first, pending.Idle) // both take work
	require.NoError(t, b.contacts.Pause(t.Context()))
	before := passes.Load()
	const contacts = 30
	for i := range contacts {
		b.submit(t, contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(i + 1)}, upd)
	}
	// Many times as long as an idle worker takes to look for work.
	polltest.Throughout(t, time.Second, func() bool { return passes.Load() == before }, "no pass begins")
	stats, err := b.contacts.Stats(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(contacts), stats.Pending)
	require.NoError(t, b.contacts.Resume(t.Context()))
	for i := range contacts {
		b.eventually(t, contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(i + 1)}, pending.Idle)
	}
	require.Equal(t, before+contacts, passes.Load())
}

func TestWebhooksOfOneEditCostOnePassWhenContactsSettle(t *testing.T) {
	b := setup(t)
	b.contacts = pending.New(b.rdb, pending.Options{Settle: time.Second})
	var passes atomic.Int64
	b.start(t, func(ctx context.Context, ref contact.Ref, intent contact.Intent) (contact.Result, error) {
		passes.Add(1)
		return updated(ctx, ref, intent)
	})
	for range 4 {
		b.submit(t, ann, upd)
	}
	b.eventually(t, ann, pending.Idle)
	require.Equal(t, int64(1), passes.Load())
	events, _, err := b.timelines.Timeline(t.Context(), ann)
	require.NoError(t, err)
	require.Len(t, events, 1)
	require.Equal(t, 4, events[0].Covered)
	require.GreaterOrEqual(t, events[0].Waited, int64(1000))
}

func TestEachPassHasALineThatNamesItsWebhook(t *testing.T) {
	b := setup(t)
	log := &logtest.Log{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	var passes atomic.Int64
	w := worker.New(worker.Options{
		Redis: b.rdb, Concurrency: 2,
		Sites: []worker.Site{{Name: contact.DefaultSite, Contacts: b.contacts, Gate: openGate{}, Syncer: passFunc(func(ctx context.Context, ref contact.Ref, intent contact.Intent) (contact.Result, error) {
			switch passes.Add(1) {
			case 1:
				return contact.Result{}, outage{}
			case 2:
				return updated(ctx, ref, intent)
			}
			return contact.Result{}, refusal{}
		})}},
		Log: zerolog.New(log).Level(zerolog.InfoLevel), Registerer: prometheus.NewRegistry(),
	})
	for _, id := range []string{"first", "second"} {
		_, err := b.contacts.Submit(t.Context(), ann, upd, contact.Receipt{RequestID: id})
		require.NoError(t, err)
	}
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	b.eventually(t, ann, pending.Idle)
	_, err := b.contacts.Submit(t.Context(), ann, contact.Intent{Action: contact.Add}, contact.Receipt{RequestID: "third"})
	require.NoError(t, err)
	b.eventually(t, ann, pending.Parked)

	want := []map[string]any{
		{"level": "warn", "outcome": "retrying", "code": "outage", "request_id": "second", "covered": 2.0, "action": "update"},
		{"level": "info", "outcome": "updated", "request_id": "second", "covered": 0.0, "action": "update"},
		{"level": "error", "outcome": "parked", "code": "no_email", "request_id": "third", "covered": 1.0, "action": "add"},
	}
	var found []map[string]any
	require.Eventually(t, func() bool {
		found = log.Named("pass ended")
		return len(found) == len(want)
	}, 10*time.Second, 10*time.Millisecond)
	for i := range want {
		require.Subset(t, found[i], want[i])
		require.Contains(t, found[i], "took_ms")
		require.Contains(t, found[i], "waited_ms")
		require.Equal(t, ann.String(), found[i]["contact"])
	}
	events, _, err := b.timelines.Timeline(t.Context(), ann)
	require.NoError(t, err)
	require.Len(t, events, 3)
	require.Equal(t, "parked", events[0].Kind)
	require.Equal(t, []string{"first", "second"}, []string{events[2].Webhooks[0].RequestID, events[2].Webhooks[1].RequestID})
}
