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

// door is the Redis client that asynq's server is given. It differs in two
// things. A wake-up is taken from a queue only after the gate of its site has let
// a pass begin, so wake-ups that may not begin stay in the queue, in their order,
// and no handler waits with one in its hand. And a queue is left alone while
// there is no reason to look: a hundred idle sites cost little more than one, and
// a site that holds its passes back keeps nobody else's waiting.
//
// asynq takes a wake-up by a script, from one goroutine, after it has made sure
// that a handler is free; it asks all queues, in an order that it draws anew each
// time, until one gives a wake-up. The door knows the script by its keys; whatever
// else passes through it passes unchanged. The place that the gate gave goes to
// the handler of a wake-up of the same queue, or back to the gate if the queue was
// empty.
type door struct {
	redis.UniversalClient

	site     func(queue string) *Site // nil: it is gone
	share    *share
	stopping <-chan struct{}
	idle     time.Duration // between two looks at a queue that was empty

	looks map[string]*look // by queue; belongs to the goroutine that takes

	mu       sync.Mutex
	hints    map[string]bool      // queues that got wake-ups from a retry or a schedule
	places   map[string][]*place  // by queue, of wake-ups whose handlers come next
	forwards map[string]time.Time // when to look at delayed wake-ups next, by their key
}

// look is what the door knows of a queue.
type look struct {
	next   time.Time // when it is worth asking again
	filled bool      // the last script took something
	kept   *place    // for the script that Redis did not know: its text comes next
}

const (
	// leastIdle is how often a queue is looked at that was empty, if there is
	// only one: an idle worker begins that much late.
	leastIdle = 25 * time.Millisecond
	// idleForEach spreads the looks of a worker with many queues.
	idleForEach = 10 * time.Millisecond
	// mostIdle bounds how late a lone webhook's pass begins on an idle site.
	mostIdle = time.Second
	// delayedForEach is the same for wake-ups that wait for a time.
	delayedForEach = 20 * time.Millisecond
	// goneWait is how long a queue is left alone whose site is gone.
	goneWait = time.Second
	// fullWait is how long a site waits for one of its handlers.
	fullWait = 10 * time.Millisecond
)

func newDoor(rdb redis.UniversalClient, queues []string, site func(string) *Site, share *share, stopping <-chan struct{}) *door {
	d := &door{
		UniversalClient: rdb, site: site, share: share, stopping: stopping,
		idle:  min(max(leastIdle, time.Duration(len(queues))*idleForEach), mostIdle),
		looks: make(map[string]*look, len(queues)), hints: make(map[string]bool),
		places: make(map[string][]*place), forwards: make(map[string]time.Time),
	}
	for _, queue := range queues {
		d.looks[queue] = &look{}
	}
	return d
}

// EvalSha runs a script that Redis should know.
func (d *door) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return d.pass(ctx, keys, func() *redis.Cmd { return d.UniversalClient.EvalSha(ctx, sha, keys, args...) })
}

// Eval runs a script that it does not know.
func (d *door) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return d.pass(ctx, keys, func() *redis.Cmd { return d.UniversalClient.Eval(ctx, script, keys, args...) })
}

func (d *door) pass(ctx context.Context, keys []string, run func() *redis.Cmd) *redis.Cmd {
	switch {
	case takes(keys):
		return d.take(ctx, keys, run)
	case forwards(keys):
		return d.forward(ctx, keys, run)
	}
	return run()
}

// takes says whether a script is the one that takes a wake-up: asynq's only
// one whose first keys are a queue's waiting wake-ups and the mark of its pause.
func takes(keys []string) bool {
	return len(keys) > 1 && strings.HasSuffix(keys[0], ":pending") && strings.HasSuffix(keys[1], ":paused")
}

// forwards says whether a script is the one that moves wake-ups whose time has
// come to those that wait.
func forwards(keys []string) bool {
	return len(keys) == 2 && strings.HasSuffix(keys[1], ":pending") &&
		(strings.HasSuffix(keys[0], ":scheduled") || strings.HasSuffix(keys[0], ":retry"))
}

// queueOf reads the queue from one of asynq's keys.
func queueOf(key string) string {
	_, rest, _ := strings.Cut(key, "{")
	queue, _, _ := strings.Cut(rest, "}")
	return queue
}

// empty says that nothing may be taken from a queue, whose keys are asynq's waiting
// wake-ups and its mark of a paused queue. An empty one costs a command.
func (d *door) empty(ctx context.Context, keys []string) (bool, error) {
	n, err := d.LLen(ctx, keys[0]).Result()
	if err != nil || n == 0 {
		return true, err
	}
	paused, err := d.Exists(ctx, keys[1]).Result()
	return err != nil || paused > 0, err
}

// take runs the script that takes a wake-up, if the gate opens. If it does not,
// or there is no reason to look, the answer is that of an empty queue.
func (d *door) take(ctx context.Context, keys []string, run func() *redis.Cmd) *redis.Cmd {
	queue := queueOf(keys[0])
	l := d.looks[queue]
	if l == nil {
		return nothing(ctx, nil)
	}
	p := l.kept
	if l.kept = nil; p == nil {
		var err error
		if p, err = d.ask(ctx, queue, l, keys); p == nil {
			return nothing(ctx, err)
		}
	}
	// The handler may come before the answer is looked at.
	d.mu.Lock()
	d.places[queue] = append(d.places[queue], p)
	d.mu.Unlock()
	answer := run()
	if l.filled = answer.Err() == nil; !l.filled {
		d.remove(queue, p)
		if redis.HasErrorPrefix(answer.Err(), "NOSCRIPT") {
			// asynq sends the script's text at once. A gate that opens seldom would
			// not open for that one, too, and then the script is never known.
			l.kept = p
			return answer
		}
		l.next = d.idleUntil(time.Now())
		p.end()
	}
	return answer
}

// ask asks for a place for a pass of a queue's site. Nil: not now, or the queue is
// empty.
func (d *door) ask(ctx context.Context, queue string, l *look, keys []string) (*place, error) {
	if !d.rest() || time.Now().Before(l.next) {
		return nil, nil
	}
	// An empty queue is looked at and costs no more than that.
	if !l.filled {
		if empty, err := d.empty(ctx, keys); empty {
			l.next = d.idleUntil(time.Now())
			return nil, err
		}
	}
	site := d.site(queue)
	if site == nil {
		l.next = time.Now().Add(goneWait)
		return nil, nil
	}
	leave := d.share.take(site.Name)
	if leave == nil {
		l.next = time.Now().Add(fullWait)
		return nil, nil
	}
	end, wait, err := site.Gate.Begin(ctx)
	if end == nil {
		leave()
		l.next = time.Now().Add(wait)
		return nil, err
	}
	return &place{end: func() { end(); leave() }}, nil
}

// rest waits until some queue is worth a look, for a second at most; false: the
// worker stops.
func (d *door) rest() bool {
	for until := time.Now().Add(time.Second); ; {
		select {
		case <-d.stopping:
			return false
		default:
		}
		d.mu.Lock()
		for queue := range d.hints {
			if l := d.looks[queue]; l != nil && !l.filled {
				l.next = time.Time{}
			}
			delete(d.hints, queue)
		}
		d.mu.Unlock()
		next := until
		for _, l := range d.looks {
			if l.next.Before(next) {
				next = l.next
			}
		}
		wait := time.Until(next)
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(min(wait, leastIdle))
		select {
		case <-timer.C:
		case <-d.stopping:
			timer.Stop()
			return false
		}
	}
}

// idleUntil says when a queue is worth a look that was empty. Looks fall on common
// moments, so that one round serves many queues.
func (d *door) idleUntil(now time.Time) time.Time {
	grid := max(d.idle/20, leastIdle)
	return now.Add(d.idle).Truncate(grid)
}

// forward runs the script that moves wake-ups whose time has come, if it is worth
// it: with many queues each is looked at less often than asynq asks.
func (d *door) forward(ctx context.Context, keys []string, run func() *redis.Cmd) *redis.Cmd {
	now := time.Now()
	d.mu.Lock()
	early := now.Before(d.forwards[keys[0]])
	d.mu.Unlock()
	none := redis.NewCmd(ctx)
	none.SetVal(int64(0))
	if early {
		return none
	}
	answer := none
	if delayed, err := d.ZCard(ctx, keys[0]).Result(); err != nil || delayed > 0 {
		answer = run()
	}
	moved, err := answer.Int()
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil && moved > 0:
		d.hints[queueOf(keys[1])] = true
	case err == nil:
		// asynq asks each second, as far as its own clock goes.
		d.forwards[keys[0]] = now.Add(time.Duration(len(d.looks))*delayedForEach - time.Second/2)
	}
	return answer
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
type place struct{ end func() }

// ticket is in the context of each handler: the place that it took.
type ticket struct{ taken atomic.Bool }

type ticketKey struct{}

// base is the context of the next handler: asynq asks for one for each wake-up
// that it has taken.
func (d *door) base() context.Context {
	return context.WithValue(context.Background(), ticketKey{}, &ticket{})
}

// enter returns the place of the wake-up whose handler has this context. Places of
// a queue are alike. Nil: it was taken before, or there is none.
func (d *door) enter(ctx context.Context) *place {
	t, _ := ctx.Value(ticketKey{}).(*ticket)
	queue, _ := asynq.GetQueueName(ctx)
	if t == nil || !t.taken.CompareAndSwap(false, true) {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting := d.places[queue]
	if len(waiting) == 0 {
		return nil
	}
	d.places[queue] = waiting[1:]
	return waiting[0]
}

func (d *door) remove(queue string, p *place) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, waiting := range d.places[queue] {
		if waiting == p {
			d.places[queue] = append(d.places[queue][:i], d.places[queue][i+1:]...)
			return
		}
	}
}

// HandleError gives the place back of a wake-up whose handler never ran: the
// process had stood still for longer than a pass may take. asynq calls it for
// every handler that failed.
func (d *door) HandleError(ctx context.Context, _ *asynq.Task, _ error) {
	if p := d.enter(ctx); p != nil {
		p.end()
	}
}
