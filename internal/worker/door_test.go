package worker_test

import (
	"context"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/logtest"
	"spillway/internal/pending"
)

// narrowGate lets some passes begin at once, over all who share it.
type narrowGate struct {
	most int

	mu       sync.Mutex
	inside   int
	greatest int
	asked    int
	begun    int
}

func (g *narrowGate) Begin(context.Context) (end func(), wait time.Duration, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	if g.inside >= g.most {
		return nil, 5 * time.Millisecond, nil
	}
	g.begun++
	g.inside++
	g.greatest = max(g.greatest, g.inside)
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.inside--
	}), 0, nil
}

func (g *narrowGate) UnderWay() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside
}

func (g *narrowGate) set(most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.most = most
}

func numbered(n int) contact.Ref { return contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(n)} }

// A wake-up that may not begin stays where it is. This fails, too, if asynq
// takes wake-ups in a way that the door does not know.
func TestAShutGateLeavesTheQueueUntouched(t *testing.T) {
	b := setup(t)
	b.contacts = pending.New(b.rdb, pending.Options{Queues: 3})
	const contacts = 30
	for i := range contacts {
		b.submit(t, numbered(i+1), upd)
	}
	gate, log := &narrowGate{}, &logtest.Log{}
	var passes atomic.Int64
	b.startBehind(t, passFunc(func(ctx context.Context, ref contact.Ref, intent contact.Intent) (contact.Result, error) {
		passes.Add(1)
		return updated(ctx, ref, intent)
	}), gate, zerolog.New(log))
	require.Eventually(t, func() bool {
		gate.mu.Lock()
		defer gate.mu.Unlock()
		return gate.asked > 100
	}, 20*time.Second, 10*time.Millisecond)
	require.Zero(t, passes.Load())
	var waiting int64
	for _, name := range b.contacts.Queues() {
		waiting += b.rdb.LLen(t.Context(), "asynq:{"+name+"}:pending").Val()
		require.Zero(t, b.rdb.LLen(t.Context(), "asynq:{"+name+"}:active").Val())
		require.Zero(t, b.rdb.ZCard(t.Context(), "asynq:{"+name+"}:retry").Val())
	}
	require.Equal(t, int64(contacts), waiting)
	stats, err := b.contacts.Stats(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(contacts), stats.Pending)
	require.Zero(t, stats.Failed)
	require.Empty(t, log.Named("pass ended"))

	gate.set(16)
	for i := range contacts {
		b.eventually(t, numbered(i+1), pending.Idle)
	}
	require.NotContains(t, log.String(), `"level":"error"`)
}

// onceGate lets one pass begin, ever: as the gate of a CRM that allows few calls
// does within the time that matters here.
type onceGate struct {
	narrowGate
}

func (g *onceGate) Begin(ctx context.Context) (end func(), wait time.Duration, err error) {
	if end, wait, err = g.narrowGate.Begin(ctx); end != nil {
		g.set(0)
	}
	return end, wait, err
}

// A Redis that is new, or that a failover has put in place, does not know asynq's
// script. The place of the pass must outlast the second try, with the text.
func TestAGateThatOpensSeldomIsEnoughForARedisThatKnowsNoScripts(t *testing.T) {
	b := setup(t)
	b.submit(t, numbered(1), upd)
	require.NoError(t, b.rdb.ScriptFlush(t.Context()).Err())
	gate := &onceGate{narrowGate{most: 1}}
	b.startBehind(t, passFunc(updated), gate, zerolog.Nop())
	b.eventually(t, numbered(1), pending.Idle)
	require.Zero(t, gate.UnderWay())
}

// 60 contacts, two at a time, over two workers: each begins in its turn.
func TestContactsThatWaitForTheGateKeepTheirOrder(t *testing.T) {
	b := setup(t)
	const contacts, atOnce = 60, 2
	for i := range contacts {
		b.submit(t, numbered(i+1), upd)
	}
	var mu sync.Mutex
	var order []int
	pass := passFunc(func(ctx context.Context, ref contact.Ref, intent contact.Intent) (contact.Result, error) {
		n, _ := strconv.Atoi(ref.ID)
		mu.Lock()
		order = append(order, n)
		mu.Unlock()
		time.Sleep(20 * time.Millisecond) // the CRM and the site take their time
		return updated(ctx, ref, intent)
	})
	gate := &narrowGate{most: atOnce}
	for range 2 {
		b.startBehind(t, pass, gate, zerolog.Nop())
	}
	for i := range contacts {
		b.eventually(t, numbered(i+1), pending.Idle)
	}
	require.Len(t, order, contacts)
	for at, n := range order {
		require.InDelta(t, n, at+1, atOnce, "contact %d began as number %d", n, at+1)
	}
	require.Equal(t, atOnce, gate.greatest)
}

func TestPlacesComeBack(t *testing.T) {
	b := setup(t)
	gate := &narrowGate{most: 3}
	var passes atomic.Int64
	stop := b.startBehind(t, passFunc(func(ctx context.Context, ref contact.Ref, intent contact.Intent) (contact.Result, error) {
		switch passes.Add(1) % 3 {
		case 0:
			panic("a bug")
		case 1:
			return contact.Result{}, refusal{}
		}
		return updated(ctx, ref, intent)
	}), gate, zerolog.Nop())
	for i := range 30 {
		b.submit(t, numbered(i+1), upd)
	}
	// A wake-up that has nothing to do takes a place, too.
	require.NoError(t, b.rdb.HSet(t.Context(), "spw:{spillway}:c:"+numbered(30).String(), "epoch", "another").Err())
	require.Eventually(t, func() bool { return passes.Load() >= 29 && gate.UnderWay() == 0 }, 20*time.Second, 10*time.Millisecond)
	stop()
	require.Zero(t, gate.UnderWay())
}

// held is what a pass meets whose CRM asked all callers to wait.
type held struct{ outage }

func (held) Held() bool { return true }

func TestAPassThatIsHeldBackPutsItsContactInFront(t *testing.T) {
	b := setup(t)
	const contacts = 20
	for i := range contacts {
		b.submit(t, numbered(i+1), contact.Intent{Action: contact.Add, Role: "customer"})
	}
	gate, log := &narrowGate{most: 1}, &logtest.Log{}
	var mu sync.Mutex
	var order []int
	b.startBehind(t, passFunc(func(ctx context.Context, ref contact.Ref, intent contact.Intent) (contact.Result, error) {
		n, _ := strconv.Atoi(ref.ID)
		mu.Lock()
		defer mu.Unlock()
		first := len(order) == 0
		order = append(order, n)
		if first {
			return contact.Result{}, held{}
		}
		return updated(ctx, ref, intent)
	}), gate, zerolog.New(log))
	for i := range contacts {
		b.eventually(t, numbered(i+1), pending.Idle)
	}
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 1, order[0])
	require.Equal(t, 1, order[1], "the contact is the first again")
	require.Len(t, order, contacts+1)
	stats, err := b.contacts.Stats(t.Context())
	require.NoError(t, err)
	require.Zero(t, stats.Failed)
	require.Equal(t, int64(contacts), stats.Synced)
	require.Len(t, log.Named("pass ended"), contacts)
	events, _, err := b.timelines.Timeline(t.Context(), numbered(1))
	require.NoError(t, err)
	require.Len(t, events, 1)
	require.Equal(t, 1, events[0].Covered, "the next pass covers the webhook")
}

func TestAnIdleWorkerCostsNoMoreThanALookForEachRound(t *testing.T) {
	b := setup(t)
	gate := &narrowGate{most: 3}
	b.startBehind(t, passFunc(updated), gate, zerolog.Nop())
	b.submit(t, ann, upd)
	b.eventually(t, ann, pending.Idle)
	begun := func() int {
		gate.mu.Lock()
		defer gate.mu.Unlock()
		return gate.asked
	}
	require.Eventually(t, func() bool { return gate.UnderWay() == 0 }, 10*time.Second, time.Millisecond)
	before := begun()
	looks := func() int { return calls(t, b.rdb, "llen") }
	from := looks()
	require.Eventually(t, func() bool { return looks() > from+20 }, 20*time.Second, 10*time.Millisecond)
	require.LessOrEqual(t, begun()-before, 1, "an empty queue asks no gate")
}

// calls reads how often Redis ran a command.
func calls(t *testing.T, rdb *redis.Client, command string) (n int) {
	t.Helper()
	info, err := rdb.Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	if found := regexp.MustCompile("cmdstat_" + command + `:calls=(\d+)`).FindStringSubmatch(info); found != nil {
		n, err = strconv.Atoi(found[1])
		require.NoError(t, err)
	}
	return n
}
