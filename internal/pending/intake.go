package pending

import (
	"context"
	"errors"
	"sync"
	"time"

	"spillway/internal/contact"
)

// Intake submits webhooks together that arrive at the same time. While a round
// trip to Redis is under way the next webhooks gather, and all that have
// gathered go with the next one: a lone webhook waits for nothing, and the more
// arrive, the more share a script.
//
// It guarantees for each webhook what [Contacts.Submit] does. When a script
// fails, each webhook in it gets the error.
type Intake struct {
	contacts *Contacts
	lines    []*line   // one per queue: a script changes one queue
	answered sync.Pool // of *waiting that got their answer
}

const (
	// underWay is how many scripts of a queue are under way at once: Redis runs
	// one while the answers of the other are read and the next ones gather.
	underWay = 2
	// mostGathered bounds a script's time, during which Redis does nothing
	// else, to a millisecond or so.
	mostGathered = 128
	// intakeTimeout ends a script's round trip. Each caller also has a deadline
	// of its own.
	intakeTimeout = 5 * time.Second
)

// NewIntake returns an intake. It starts goroutines only while webhooks wait
// and needs no closing.
func NewIntake(contacts *Contacts) *Intake {
	i := &Intake{contacts: contacts}
	i.answered.New = func() any { return &waiting{done: make(chan answer, 1)} }
	for _, q := range contacts.queues {
		i.lines = append(i.lines, &line{queue: q})
	}
	return i
}

// line is where the webhooks of a queue gather.
type line struct {
	queue    *queue
	mu       sync.Mutex
	waiting  []*waiting
	underWay int
}

type waiting struct {
	webhook Webhook
	done    chan answer // takes one answer without anyone listening
	gone    bool        // its caller was told that it failed; guarded by the line's lock
}

type answer struct {
	coalesced bool
	awaited   awaited // what the sender may wait for; zero: nothing
	err       error
}

// Submit is [Contacts.Submit], together with others. It returns early when ctx
// ends; a webhook that was on its way to Redis then may be recorded all the same.
func (i *Intake) Submit(ctx context.Context, ref contact.Ref, intent contact.Intent, receipt contact.Receipt) (coalesced bool, err error) {
	a := i.submit(ctx, Webhook{Ref: ref, Intent: intent, Receipt: receipt})
	return a.coalesced, a.err
}

func (i *Intake) submit(ctx context.Context, webhook Webhook) answer {
	if webhook.Intent.Action == 0 {
		return answer{err: errors.New("recording contact " + webhook.Ref.String() + ": the intent has no action")}
	}
	if room := i.contacts.room; room != nil && room.Refuses() {
		return answer{err: ErrFull}
	}
	w := i.answered.Get().(*waiting)
	w.webhook = webhook
	l := i.lines[i.contacts.names.Index(webhook.Ref)]
	l.mu.Lock()
	l.waiting = append(l.waiting, w)
	start := l.underWay < underWay
	if start {
		l.underWay++
	}
	l.mu.Unlock()
	if start {
		go i.carry(l) //nolint:gosec // outlives this webhook: it carries those of others
	}
	select {
	case a := <-w.done:
		i.answered.Put(w)
		return a
	case <-ctx.Done():
		// Its answer may be still to come, so it is not used again.
		l.mu.Lock()
		w.gone = true
		l.mu.Unlock()
		return answer{err: context.Cause(ctx)}
	}
}

// carry submits what has gathered until nothing has.
func (i *Intake) carry(l *line) {
	var batch []*waiting
	var webhooks []Webhook
	for {
		if batch = l.take(batch[:0]); len(batch) == 0 {
			return
		}
		webhooks = webhooks[:0]
		for _, w := range batch {
			webhooks = append(webhooks, w.webhook)
		}
		ctx, cancel := context.WithTimeout(context.Background(), intakeTimeout)
		answers, awaited, err := i.contacts.submit(ctx, l.queue, byWebhook, webhooks)
		cancel()
		for n, w := range batch {
			w.done <- answer{coalesced: err == nil && answers[n] == existed, awaited: awaited[n], err: err}
		}
	}
}

// take moves what has gathered into batch, except webhooks whose callers have
// given up. Those callers send again; after a standstill Redis would get all of
// the old ones before the fresh ones. When take returns nothing, the caller no
// longer counts as under way.
func (l *line) take(batch []*waiting) []*waiting {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := 0
	for _, w := range l.waiting {
		if len(batch) == mostGathered {
			break
		}
		if seen++; !w.gone {
			batch = append(batch, w)
		}
	}
	left := copy(l.waiting, l.waiting[seen:])
	clear(l.waiting[left:])
	l.waiting = l.waiting[:left]
	if len(batch) == 0 {
		l.underWay--
	}
	return batch
}
