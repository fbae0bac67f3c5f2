package worker

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// door is the Redis client that asynq's server is given. Its one difference: a
// wake-up is taken from a queue only after the gate has let a pass begin. So
// wake-ups that may not begin stay in the queue, in their order, and no handler
// waits with one in its hand.
//
// asynq takes a wake-up by a script, from one goroutine, after it has made sure
// that a handler is free. The door knows the script by its keys; whatever else
// passes through it passes unchanged. The place that the gate gave goes to the
// handler of the wake-up that was taken, through its context, or back to the
// gate if the queue was empty.
type door struct {
	redis.UniversalClient

	gate     Gate
	stopping <-chan struct{}
	// filled are the queues of which the last script took something.
	filled map[string]bool

	mu     sync.Mutex
	places []*place // of wake-ups that were taken, whose handlers come next
}

func newDoor(rdb redis.UniversalClient, gate Gate, stopping <-chan struct{}) *door {
	return &door{UniversalClient: rdb, gate: gate, stopping: stopping, filled: make(map[string]bool)}
}

// EvalSha runs a script that Redis should know.
func (d *door) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return d.pass(ctx, keys, func() *redis.Cmd { return d.UniversalClient.EvalSha(ctx, sha, keys, args...) })
}

// Eval runs a script that it does not know.
func (d *door) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return d.pass(ctx, keys, func() *redis.Cmd { return d.UniversalClient.Eval(ctx, script, keys, args...) })
}

// takes says whether a script is the one that takes a wake-up: asynq's only
// one whose first keys are a queue's waiting wake-ups and the mark of its pause.
func takes(keys []string) bool {
	return len(keys) > 1 && strings.HasSuffix(keys[0], ":pending") && strings.HasSuffix(keys[1], ":paused")
}

// waitingScript counts the wake-ups that may be taken from a queue.
//
// KEYS[1] asynq's waiting wake-ups  KEYS[2] its mark of a paused queue
var waitingScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
return redis.call('LLEN', KEYS[1])
`)

// longestKnock is how long the door stays shut before asynq's loop, which sees
// nothing meanwhile, comes round again.
const longestKnock = time.Second

// pass runs a script; one that takes a wake-up when the gate opens. While it
// does not, the answer is that of an empty queue.
func (d *door) pass(ctx context.Context, keys []string, run func() *redis.Cmd) *redis.Cmd {
	if !takes(keys) {
		return run()
	}
	// An empty queue is looked at and costs no more than that.
	if !d.filled[keys[0]] {
		n, err := waitingScript.Run(ctx, d.UniversalClient, keys[:2]).Int()
		if err != nil || n == 0 {
			return nothing(ctx, err)
		}
	}
	end, err := d.knock(ctx)
	if end == nil {
		return nothing(ctx, err)
	}
	p := &place{end: end}
	// The handler may come before the answer is looked at.
	d.mu.Lock()
	d.places = append(d.places, p)
	d.mu.Unlock()
	answer := run()
	d.filled[keys[0]] = answer.Err() == nil
	if answer.Err() != nil {
		d.remove(p)
		end()
	}
	return answer
}

// knock waits until the gate opens, for a second at most; a nil end: it did not.
func (d *door) knock(ctx context.Context) (end func(), err error) {
	for until := time.Now().Add(longestKnock); ; {
		select {
		case <-d.stopping:
			return nil, nil
		default:
		}
		end, wait, err := d.gate.Begin(ctx)
		if end != nil || err != nil {
			return end, err
		}
		left := time.Until(until)
		timer := time.NewTimer(min(wait, left))
		select {
		case <-timer.C:
		case <-d.stopping:
			timer.Stop()
		}
		if wait >= left {
			return nil, nil
		}
	}
}

// nothing is the answer of an empty queue, or an error.
func nothing(ctx context.Context, err error) *redis.Cmd {
	if err == nil {
		err = redis.Nil
	}
	cmd := redis.NewCmd(ctx)
	cmd.SetErr(err)
	return cmd
}

// place is the right to run one pass.
type place struct {
	end   func()
	taken atomic.Bool
}

// take gives the right to the first that asks.
func (p *place) take() bool { return p.taken.CompareAndSwap(false, true) }

type placeKey struct{}

func placeOf(ctx context.Context) *place {
	p, _ := ctx.Value(placeKey{}).(*place)
	return p
}

// base is the context of the next handler: asynq asks for one for each wake-up
// that it has taken.
func (d *door) base() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	ctx := context.Background()
	if len(d.places) > 0 {
		ctx = context.WithValue(ctx, placeKey{}, d.places[0])
		d.places = d.places[1:]
	}
	return ctx
}

func (d *door) remove(p *place) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.places {
		if d.places[i] == p {
			d.places = append(d.places[:i], d.places[i+1:]...)
			return
		}
	}
}

// HandleError gives the place back of a wake-up whose handler never ran: the
// process had stood still for longer than a pass may take. asynq calls it for
// every handler that failed.
func (d *door) HandleError(ctx context.Context, _ *asynq.Task, _ error) {
	if p := placeOf(ctx); p != nil && p.take() {
		p.end()
	}
}
