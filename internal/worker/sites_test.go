package worker_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
	"spillway/internal/worker"
)

// Of three sites the gate of one is shut, the passes of one never end, and each
// keeps to its own: the third has its turn, whatever the others have waiting.
func TestTheDoorLetsEachSiteInByItsOwnGate(t *testing.T) {
	t.Parallel()
	const contacts, handlers = 30, 6
	b := &bundle{rdb: redistest.Start(t).Client()}
	release := make(chan struct{})
	stuck := passFunc(func(ctx context.Context, ref contact.Ref, intent contact.Intent) (contact.Result, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return updated(ctx, ref, intent)
	})
	gates := map[string]*narrowGate{"shut": {}, "stuck": {most: 100}, "well": {most: 100}}
	sites := make(map[string]worker.Site)
	for name, pass := range map[string]passFunc{"shut": updated, "stuck": stuck, "well": updated} {
		sites[name] = worker.Site{Name: name, Contacts: pending.New(b.rdb, pending.Options{Site: name}), Syncer: pass, Gate: gates[name]}
		for id := range contacts {
			_, err := sites[name].Contacts.Submit(t.Context(), contact.Ref{Site: name, ID: strconv.Itoa(id + 1)}, upd, contact.Receipt{})
			require.NoError(t, err)
		}
	}
	waiting := func(name string) int64 { return b.rdb.LLen(t.Context(), "asynq:{spillway."+name+"}:pending").Val() }
	done := func(name string) {
		t.Helper()
		b.contacts = sites[name].Contacts
		for id := range contacts {
			b.eventually(t, contact.Ref{Site: name, ID: strconv.Itoa(id + 1)}, pending.Idle)
		}
	}
	w := worker.New(worker.Options{
		Redis: b.rdb, Sites: []worker.Site{sites["shut"], sites["stuck"], sites["well"]}, Concurrency: handlers,
		Log: zerolog.Nop(), Registerer: prometheus.NewRegistry(),
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() { stop(); require.NoError(t, <-ended) })

	done("well")
	require.EqualValues(t, contacts, waiting("shut"))
	gates["stuck"].mu.Lock()
	most := gates["stuck"].greatest
	gates["stuck"].mu.Unlock()
	require.Positive(t, most)
	require.LessOrEqual(t, most, handlers*2/3, "the site whose passes never end")

	// A site that is not served any more keeps what waits for it.
	w.Serve([]worker.Site{sites["stuck"], sites["well"]})
	close(release)
	done("stuck")
	gates["shut"].set(100)
	_, err := sites["well"].Contacts.Submit(t.Context(), contact.Ref{Site: "well", ID: "1"}, upd, contact.Receipt{})
	require.NoError(t, err)
	done("well")
	require.EqualValues(t, contacts, waiting("shut"))
	w.Serve([]worker.Site{sites["shut"], sites["stuck"], sites["well"]})
	done("shut")
}
