package worker_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
	"spillway/internal/worker"
)

var (
	ann = contact.Ref{Site: contact.DefaultSite, ID: "123"}
	upd = contact.Intent{Action: contact.Update}
)

// passFunc is a pass as a function.
type passFunc func(ctx context.Context, ref contact.Ref, intent contact.Intent) (contact.Result, error)

func (f passFunc) Pass(ctx context.Context, ref contact.Ref, intent contact.Intent, _ int64) (contact.Result, error) {
	return f(ctx, ref, intent)
}

type openGate struct{}

func (openGate) Begin(context.Context) (func(), time.Duration, error) { return func() {}, 0, nil }
func (openGate) UnderWay() int                                        { return 0 }

type refusal struct{}

func (refusal) Error() string   { return "the contact has no email" }
func (refusal) Refusal() string { return "no_email" }

type outage struct{}

func (outage) Error() string         { return "the CRM is away" }
func (outage) Outage() time.Duration { return 0 }

type bundle struct {
	contacts  *pending.Contacts
	timelines *history.Timelines
	rdb       *redis.Client
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	rdb := redistest.Start(t).Client()
	return &bundle{contacts: pending.New(rdb, pending.Options{}), timelines: history.New(rdb, contact.DefaultSite, 1), rdb: rdb}
}

// start runs a worker and returns a function that stops it and waits.
func (b *bundle) start(t *testing.T, pass passFunc) (stop func()) {
	t.Helper()
	return b.startWith(t, pass)
}

func (b *bundle) startWith(t *testing.T, pass worker.Passer) (stop func()) {
	t.Helper()
	return b.startBehind(t, pass, openGate{}, zerolog.Nop())
}

func (b *bundle) startBehind(t *testing.T, pass worker.Passer, gate worker.Gate, log zerolog.Logger) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	w := worker.New(worker.Options{
		Redis: b.rdb, Sites: []worker.Site{{Name: contact.DefaultSite, Contacts: b.contacts, Syncer: pass, Gate: gate}}, Concurrency: 16,
		Log: log, Registerer: prometheus.NewRegistry(), SweepInterval: 500 * time.Millisecond,
	})
	go func() { done <- w.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
	t.Cleanup(stop)
	return stop
}

func (b *bundle) submit(t *testing.T, ref contact.Ref, intent contact.Intent) {
	t.Helper()
	_, err := b.contacts.Submit(t.Context(), ref, intent, contact.Receipt{RequestID: "r"})
	require.NoError(t, err)
}

func (b *bundle) eventually(t *testing.T, ref contact.Ref, state pending.State) pending.Record {
	t.Helper()
	var record pending.Record
	require.Eventually(t, func() bool {
		var err error
		record, err = b.contacts.Lookup(t.Context(), ref)
		return err == nil && record.State == state
	}, 30*time.Second, 10*time.Millisecond, "contact %s never became %s", ref, state)
	return record
}

func TestManyWebhooksOfOneContactCauseFewPasses(t *testing.T) {
	b := setup(t)
	var version, stored, passes atomic.Int64
	b.start(t, func(context.Context, contact.Ref, contact.Intent) (contact.Result, error) {
		passes.Add(1)
		read := version.Load()
		time.Sleep(20 * time.Millisecond) // the CRM and the site take their time
		stored.Store(read)
		return contact.Result{Outcome: contact.Updated}, nil
	})
	for range 1000 {
		version.Add(1)
		b.submit(t, ann, upd)
	}
	b.eventually(t, ann, pending.Idle)
	require.Equal(t, version.Load(), stored.Load(), "the last edit must win")
	require.Less(t, passes.Load(), int64(100))
}

func TestWebhookDuringPassCausesAnotherPass(t *testing.T) {
	b := setup(t)
	entered, proceed := make(chan contact.Intent, 4), make(chan struct{})
	b.start(t, func(_ context.Context, _ contact.Ref, intent contact.Intent) (contact.Result, error) {
		entered <- intent
		<-proceed
		return contact.Result{Outcome: contact.Updated}, nil
	})
	b.submit(t, ann, contact.Intent{Action: contact.UpdateTags})
	require.Equal(t, contact.UpdateTags, (<-entered).Action)
	b.submit(t, ann, contact.Intent{Action: contact.Add, Role: "customer"})
	close(proceed)
	require.Equal(t, contact.Intent{Action: contact.Add, Role: "customer"}, <-entered)
	b.eventually(t, ann, pending.Idle)
	require.Empty(t, entered)
}

func TestPassesOfOneContactNeverOverlap(t *testing.T) {
	b := setup(t)
	const contacts, webhooks = 10, 600
	var overlaps atomic.Int64
	var under [contacts]atomic.Int64
	var version, stored [contacts]atomic.Int64
	pass := func(_ context.Context, ref contact.Ref, _ contact.Intent) (contact.Result, error) {
		var i int
		_, _ = fmt.Sscan(ref.ID, &i)
		if under[i-1].Add(1) > 1 {
			overlaps.Add(1)
		}
		read := version[i-1].Load()
		time.Sleep(time.Millisecond)
		stored[i-1].Store(read)
		under[i-1].Add(-1)
		return contact.Result{Outcome: contact.Updated}, nil
	}
	for range 3 {
		b.start(t, pass)
	}
	var senders sync.WaitGroup
	for s := range 4 {
		senders.Go(func() {
			for n := range webhooks / 4 {
				i := (n*7 + s) % contacts
				version[i].Add(1)
				_, err := b.contacts.Submit(context.Background(), contact.Ref{Site: contact.DefaultSite, ID: fmt.Sprint(i + 1)}, upd, contact.Receipt{})
				if err != nil {
					t.Errorf("submit: %v", err)
				}
			}
		})
	}
	senders.Wait()
	for i := range contacts {
		b.eventually(t, contact.Ref{Site: contact.DefaultSite, ID: fmt.Sprint(i + 1)}, pending.Idle)
		require.Equal(t, version[i].Load(), stored[i].Load())
	}
	require.Zero(t, overlaps.Load())
}

func TestOutageIsRetriedWithoutUsingUpAttempts(t *testing.T) {
	for code, cause := range map[string]error{"outage": outage{}, "superseded": contact.ErrSuperseded} {
		t.Run(code, func(t *testing.T) {
			b := setup(t)
			var passes atomic.Int64
			b.start(t, func(context.Context, contact.Ref, contact.Intent) (contact.Result, error) {
				if passes.Add(1) == 1 {
					return contact.Result{}, fmt.Errorf("syncing contact 123: %w", cause)
				}
				return contact.Result{Outcome: contact.Updated}, nil
			})
			b.submit(t, ann, upd)
			record := b.eventually(t, ann, pending.Retrying)
			require.Zero(t, record.Attempts)
			require.Equal(t, code, record.Failure.Code)
			b.eventually(t, ann, pending.Idle)
			events, last, err := b.timelines.Timeline(t.Context(), ann)
			require.NoError(t, err)
			require.Len(t, events, 2)
			require.False(t, last.IsZero())
		})
	}
}

// numbers notes the numbers of the passes over a contact whose webhooks arrive
// during the first of them.
type numbers struct {
	webhook func()
	seen    chan int64
}

func (n *numbers) Pass(_ context.Context, _ contact.Ref, _ contact.Intent, asOf int64) (contact.Result, error) {
	if len(n.seen) == 0 {
		n.webhook()
	}
	n.seen <- asOf
	return contact.Result{Outcome: contact.Updated}, nil
}

func TestPassInPlaceHasAHigherNumber(t *testing.T) {
	b := setup(t)
	passes := &numbers{webhook: func() { b.submit(t, ann, upd) }, seen: make(chan int64, 9)}
	b.startWith(t, passes)
	b.submit(t, ann, upd)
	b.eventually(t, ann, pending.Idle)
	require.Len(t, passes.seen, 2)
	first := <-passes.seen
	require.WithinDuration(t, time.Now(), time.UnixMicro(first), time.Minute)
	require.Greater(t, <-passes.seen, first)
}

func TestRefusedContactIsParkedUntilItsNextWebhook(t *testing.T) {
	b := setup(t)
	var mended atomic.Bool
	b.start(t, func(context.Context, contact.Ref, contact.Intent) (contact.Result, error) {
		if !mended.Load() {
			return contact.Result{}, refusal{}
		}
		return contact.Result{Outcome: contact.Created}, nil
	})
	b.submit(t, ann, contact.Intent{Action: contact.Add})
	record := b.eventually(t, ann, pending.Parked)
	require.Equal(t, pending.Failure{Code: "no_email", Text: "the contact has no email"}, record.Failure)
	require.Eventually(t, func() bool {
		tasks, err := b.rdb.Keys(t.Context(), "asynq:{spillway}:t:*").Result()
		return err == nil && len(tasks) == 0
	}, 10*time.Second, 10*time.Millisecond, "its wake-up is kept where asynq would drop it")
	require.Zero(t, b.rdb.Exists(t.Context(), "asynq:{spillway}:archived").Val())
	mended.Store(true)
	b.submit(t, ann, upd)
	b.eventually(t, ann, pending.Idle)
}

func TestPanickingPassIsAFailureOfItsContact(t *testing.T) {
	b := setup(t)
	var passes atomic.Int64
	b.start(t, func(_ context.Context, ref contact.Ref, _ contact.Intent) (contact.Result, error) {
		if ref == ann && passes.Add(1) == 1 {
			panic("a bug")
		}
		return contact.Result{Outcome: contact.Updated}, nil
	})
	b.submit(t, ann, upd)
	require.Equal(t, 1, b.eventually(t, ann, pending.Retrying).Attempts)
	b.eventually(t, ann, pending.Idle)
}

func TestStoppingWaitsForThePassUnderWay(t *testing.T) {
	b := setup(t)
	entered, proceed := make(chan struct{}), make(chan struct{})
	var cut error
	stop := b.start(t, func(ctx context.Context, _ contact.Ref, _ contact.Intent) (contact.Result, error) {
		close(entered)
		<-proceed
		cut = ctx.Err()
		return contact.Result{Outcome: contact.Updated}, nil
	})
	b.submit(t, ann, upd)
	<-entered
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
		require.Fail(t, "stopped during a pass")
	case <-time.After(300 * time.Millisecond):
	}
	close(proceed)
	<-stopped
	require.NoError(t, cut)
	b.eventually(t, ann, pending.Idle)
}

func TestSweepOfAWorkerWakesAContactThatLostItsWakeUp(t *testing.T) {
	b := setup(t)
	b.submit(t, ann, upd)
	require.NoError(t, b.rdb.Del(t.Context(), "asynq:{spillway}:pending").Err())
	keys, err := b.rdb.Keys(t.Context(), "asynq:{spillway}:t:*").Result()
	require.NoError(t, err)
	require.NoError(t, b.rdb.Del(t.Context(), keys...).Err())
	require.NoError(t, b.rdb.ZAdd(t.Context(), "spw:{spillway}:due", redis.Z{Score: 1, Member: ann.String()}).Err())
	b.start(t, func(context.Context, contact.Ref, contact.Intent) (contact.Result, error) {
		return contact.Result{Outcome: contact.Updated}, nil
	})
	b.eventually(t, ann, pending.Idle)
}

func TestAWorkerForgetsTheServersThatWereKilled(t *testing.T) {
	b := setup(t)
	for _, list := range []string{"asynq:servers", "asynq:workers"} {
		require.NoError(t, b.rdb.ZAdd(t.Context(), list, redis.Z{Score: 1, Member: list + ":{killed}"}).Err())
	}
	stop := b.start(t, func(context.Context, contact.Ref, contact.Intent) (contact.Result, error) {
		return contact.Result{}, nil
	})
	require.Eventually(t, func() bool {
		return b.rdb.ZCount(t.Context(), "asynq:servers", "1", "1").Val()+b.rdb.ZCount(t.Context(), "asynq:workers", "1", "1").Val() == 0
	}, 10*time.Second, 10*time.Millisecond)
	stop()
}
