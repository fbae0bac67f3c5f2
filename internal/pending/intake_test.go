package pending_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
)

func TestIntakeRecordsEveryWebhookInFewScripts(t *testing.T) {
	b := setup(t)
	contacts := pending.New(b.rdb, pending.Options{Queues: 3})
	intake := pending.NewIntake(contacts)
	gate := &gatedHook{open: make(chan struct{})}
	b.rdb.AddHook(gate)
	const n = 900
	var all sync.WaitGroup
	var coalesced sync.Map
	for i := range n {
		all.Go(func() {
			ref := contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(1 + i%300)}
			was, err := intake.Submit(b.ctx, ref, upd, contact.Receipt{RequestID: strconv.Itoa(i)})
			if err != nil {
				t.Errorf("submit: %v", err)
			}
			coalesced.Store(i, was)
		})
	}
	// The first round trips are held up; meanwhile the others gather.
	close(gate.open)
	all.Wait()
	count := 0
	coalesced.Range(func(_, was any) bool {
		if was.(bool) {
			count++
		}
		return true
	})
	require.Equal(t, 600, count, "300 contacts, three webhooks each")
	stats, err := contacts.Stats(b.ctx)
	require.NoError(t, err)
	require.Equal(t, int64(n), stats.Received)
	require.Equal(t, int64(600), stats.Coalesced)
	require.Equal(t, int64(300), stats.Pending)
	for i := range 300 {
		record, err := contacts.Lookup(b.ctx, contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(1 + i)})
		require.NoError(t, err)
		require.Len(t, record.Received, 3)
	}
}

// gatedHook holds every script up until the gate opens.
type gatedHook struct {
	open    chan struct{}
	scripts atomic.Int64 // that came so far
}

func (*gatedHook) DialHook(next redis.DialHook) redis.DialHook { return next }
func (*gatedHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (g *gatedHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			g.scripts.Add(1)
			<-g.open
		}
		return next(ctx, cmd)
	}
}

func TestFailedScriptFailsEveryWebhookInIt(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, DialTimeout: time.Second})
	t.Cleanup(func() { _ = client.Close() })
	intake := pending.NewIntake(pending.New(client, pending.Options{}))
	server.Kill()
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			_, err := intake.Submit(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(i + 1)}, upd, contact.Receipt{})
			if err == nil {
				t.Error("acknowledged without Redis")
			}
		})
	}
	all.Wait()

	server.Restart()
	require.Eventually(t, func() bool {
		_, err := intake.Submit(t.Context(), ann, upd, contact.Receipt{})
		return err == nil
	}, 30*time.Second, 10*time.Millisecond, "it goes on when Redis is back")
}

func TestIntakeObeysEachCallersDeadline(t *testing.T) {
	b := setup(t)
	gate := &gatedHook{open: make(chan struct{})}
	b.rdb.AddHook(gate)
	intake := pending.NewIntake(b.Contacts)
	ctx, cancel := context.WithCancel(b.ctx)
	returned := make(chan error, 1)
	go func() {
		_, err := intake.Submit(ctx, ann, upd, contact.Receipt{})
		returned <- err
	}()
	polltest.Until(t, 30*time.Second, func() bool { return gate.scripts.Load() == 1 }, "the script is on its way")
	cancel()
	require.ErrorIs(t, <-returned, context.Canceled)
	close(gate.open)
	polltest.Until(t, 10*time.Second, func() bool {
		return b.state(t, ann).State == pending.Pending
	}, "what was under way is recorded all the same")
}

func TestWebhooksOfCallersThatGaveUpAreDropped(t *testing.T) {
	b := setup(t)
	gate := &gatedHook{open: make(chan struct{})}
	b.rdb.AddHook(gate)
	intake := pending.NewIntake(b.Contacts)
	gaveUp, cancel := context.WithCancel(b.ctx)
	var stuck sync.WaitGroup
	for i := range 1000 {
		stuck.Go(func() {
			if _, err := intake.Submit(gaveUp, contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(i + 1)}, upd, contact.Receipt{}); err == nil {
				t.Error("acknowledged without Redis")
			}
		})
	}
	// Two scripts carry what came first; the others wait in line.
	polltest.Until(t, 30*time.Second, func() bool { return intake.InLine() >= 1000-2*128 }, "the webhooks are in line")
	cancel()
	stuck.Wait()
	close(gate.open)
	_, err := intake.Submit(b.ctx, ann, upd, contact.Receipt{})
	require.NoError(t, err)
	require.Zero(t, intake.InLine())
	stats, err := b.Stats(b.ctx)
	require.NoError(t, err)
	require.LessOrEqual(t, stats.Received, int64(2*128+1), "no more than what was on its way")
}

func TestIntakeRefusesAnIntentWithoutAnAction(t *testing.T) {
	b := setup(t)
	_, err := pending.NewIntake(b.Contacts).Submit(b.ctx, ann, contact.Intent{}, contact.Receipt{})
	require.ErrorContains(t, err, "no action")
	require.Equal(t, pending.Idle, b.state(t, ann).State)
}
