package pending

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

// endingsChannel is where workers tell of the end of a pass that somebody waits
// for. A message has the form "LIFE GEN SITE:ID EVENT". It reaches every
// subscriber of a cluster, and those of a replica.
const endingsChannel = "spw:endings"

// waitLua says whether the sender of a webhook that was just recorded may wait
// for its pass: whether the queue would serve it in half of its patience, so
// that the other half is left for the pass. gen and the record's life name the
// webhook: records come and go, each begins at gen 1, and a life never comes
// again. The life is kept only where somebody waits: nobody is told of other
// passes' ends.
//
// Ahead counts the contacts with outstanding work now, except those that wait
// for a retry of their own. Passes go at the pace of the last one or two
// minutes; a queue that was idle is taken to begin ten in a second.
const waitLua = `
local ahead, pace
local function inTime(keys, counts, woken, key, anew, patience)
  if not ahead then
    ahead, pace = redis.call('ZCARD', keys[1]) - redis.call('ZCARD', keys[2]), 10
    if redis.call('EXISTS', keys[8]) == 1 then ahead = math.huge end
    if ahead > 0 then
      local minute, lately = math.floor(time[1] / 60), 0
      for at = minute - 1, minute do
        lately = lately + (redis.call('HGET', counts .. 'm:' .. math.floor(at / 60), at % 60 .. ':synced') or 0)
      end
      pace = math.max(pace, lately / (60 + time[1] % 60))
    end
  end
  if (ahead + woken) * 1000 / pace > patience / 2 then return false end
  -- A webhook does not hasten a retry.
  local retry = not anew and redis.call('HGET', key, 'next')
  return not retry or retry - now <= patience / 2
end
`

// tellLua tells of the end of a pass that somebody waits for. A pass must end
// also when Redis does not let this user publish.
const tellLua = `
local function tell(life, gen, ref, event)
  if life then redis.pcall('PUBLISH', '` + endingsChannel + `', life .. ' ' .. gen .. ' ' .. ref .. ' ' .. event) end
end
`

// awaited names a webhook: the life of its record and its number in it.
type awaited struct {
	life string
	gen  int64
}

// parseAwaited reads triples "INDEX GEN LIFE".
func parseAwaited(text string) map[int]awaited {
	if text == "" {
		return nil
	}
	parts := strings.Split(text, " ")
	list := make(map[int]awaited, len(parts)/3)
	for ; len(parts) >= 3; parts = parts[3:] {
		index, errIndex := strconv.Atoi(parts[0])
		gen, errGen := strconv.ParseInt(parts[1], 10, 64)
		if errIndex == nil && errGen == nil {
			list[index] = awaited{parts[2], gen}
		}
	}
	return list
}

// Endings hears of the ends of passes, of all sites, and lets the senders of
// webhooks wait for that of the pass which carries theirs out.
//
// It guarantees that a [Wait] hears of no pass but one that began after its
// webhook was recorded. It does not guarantee that a Wait hears anything: a
// message may be lost, so every waiting sender has a patience that ends.
// Recording a webhook never depends on any of this.
type Endings struct {
	rdb       redis.UniversalClient
	listening atomic.Bool // the subscription is confirmed

	mu    sync.Mutex
	waits map[string]map[*Wait]struct{} // by SITE:ID
}

// NewEndings returns an Endings that lets nobody wait until [Endings.Run].
func NewEndings(rdb redis.UniversalClient) *Endings {
	return &Endings{rdb: rdb, waits: make(map[string]map[*Wait]struct{})}
}

// Awaiting takes a site's webhooks as an [Intake] does, and lets their senders
// wait.
type Awaiting struct {
	*Endings

	intake *Intake
}

// Of returns what takes the webhooks of an intake.
func (e *Endings) Of(intake *Intake) *Awaiting { return &Awaiting{e, intake} }

// Submit is [Intake.Submit] for a sender that is ready to wait. wait is nil if
// the queue would not serve the contact in time, or if nothing is heard of
// passes at the moment; the webhook is recorded all the same. Otherwise the
// caller leaves the wait when it is over.
func (e *Awaiting) Submit(
	ctx context.Context, ref contact.Ref, intent contact.Intent, receipt contact.Receipt, patience time.Duration,
) (coalesced bool, wait *Wait, err error) {
	if patience <= e.intake.contacts.settle || !e.Listening() {
		coalesced, err = e.intake.Submit(ctx, ref, intent, receipt)
		return coalesced, nil, err
	}
	// Before the webhook is recorded: its pass may end before Redis's answer is
	// read.
	wait = e.join(ref.String())
	answer := e.intake.submit(ctx, Webhook{Ref: ref, Intent: intent, Receipt: receipt, patience: patience})
	if answer.err != nil || answer.awaited.life == "" {
		wait.Leave()
		return answer.coalesced, nil, answer.err
	}
	wait.begin(answer.awaited)
	return answer.coalesced, wait, nil
}

// Wait is that of one sender.
type Wait struct {
	endings *Endings
	ref     string
	ended   chan string

	// Guarded by endings.mu.
	begun   bool
	awaited awaited
	early   []ending // heard before it was known what is waited for
}

// ending is the end of a pass that covers the webhooks of a life up to gen.
type ending struct {
	awaited
	event string
}

// mostHeard bounds the ends that a wait keeps for a late reader.
const mostHeard = 8

func (e *Endings) join(ref string) *Wait {
	w := &Wait{endings: e, ref: ref, ended: make(chan string, mostHeard)}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waits[ref] == nil {
		e.waits[ref] = make(map[*Wait]struct{})
	}
	e.waits[ref][w] = struct{}{}
	return w
}

func (w *Wait) begin(awaited awaited) {
	w.endings.mu.Lock()
	defer w.endings.mu.Unlock()
	w.begun, w.awaited = true, awaited
	for _, end := range w.early {
		w.hear(end)
	}
	w.early = nil
}

// hear is called with endings.mu held.
func (w *Wait) hear(end ending) {
	switch {
	case !w.begun:
		if len(w.early) < mostHeard {
			w.early = append(w.early, end)
		}
	case end.life == w.awaited.life && end.gen >= w.awaited.gen:
		select {
		case w.ended <- end.event:
		default:
		}
	}
}

// Ended hears of each pass that covers the webhook and synced or parked: the
// event that was given to [Claim.Finish] or [Claim.Park].
func (w *Wait) Ended() <-chan string { return w.ended }

// Leave ends the wait.
func (w *Wait) Leave() {
	w.endings.mu.Lock()
	defer w.endings.mu.Unlock()
	others := w.endings.waits[w.ref]
	if delete(others, w); len(others) == 0 {
		delete(w.endings.waits, w.ref)
	}
}

const (
	// silence is the time without a message after which the subscription is
	// checked, and then the time after which it is made anew.
	silence = 5 * time.Second
	// resubscribe is the pause before it is made anew.
	resubscribe = 250 * time.Millisecond
)

// Listening says whether this process hears of passes' ends at the moment.
func (e *Endings) Listening() bool { return e.listening.Load() }

// Run keeps this process's one subscription until ctx ends. report gets the
// reason each time an attempt fails.
func (e *Endings) Run(ctx context.Context, report func(error)) {
	for ctx.Err() == nil {
		err := e.listen(ctx)
		e.listening.Store(false)
		if ctx.Err() != nil {
			return
		}
		report(err)
		select {
		case <-ctx.Done():
		case <-time.After(resubscribe):
		}
	}
}

// listen subscribes and passes messages on until the connection fails.
func (e *Endings) listen(ctx context.Context) error {
	subscription := e.rdb.Subscribe(ctx, endingsChannel)
	defer context.AfterFunc(ctx, func() { _ = subscription.Close() })()
	defer subscription.Close()
	asked := false
	for {
		message, err := subscription.ReceiveTimeout(ctx, silence)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() && !asked && e.Listening() {
			if err := subscription.Ping(ctx); err != nil {
				return err
			}
			asked = true
			continue
		}
		if err != nil {
			return err
		}
		asked = false
		switch m := message.(type) {
		case *redis.Subscription:
			e.listening.Store(true)
		case *redis.Message:
			e.hear(m.Payload)
		}
	}
}

func (e *Endings) hear(message string) {
	parts := strings.SplitN(message, " ", 4)
	if len(parts) != 4 {
		return
	}
	gen, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for w := range e.waits[parts[2]] {
		w.hear(ending{awaited{parts[0], gen}, parts[3]})
	}
}
