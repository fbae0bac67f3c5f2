package site

import (
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"spillway/internal/contact"
)

// waiter is a contact in line or in flight, with a caller of Store behind it.
type waiter struct {
	id      string
	encoded json.RawMessage
	values  []string // of the contact, which no error may show
	arrived time.Time
	until   time.Time   // the caller's deadline; zero: none
	answer  chan answer // holds one, so that nobody waits for a caller
	gone    atomic.Bool // the caller has left
	span    trace.Span  // of Store
}

// awaited says whether the caller still waits, and for long enough: in the last
// tenth of its time nothing is sent, since the caller would be gone, and perhaps
// another pass begun, before the site has it. The deadline is compared here too:
// a process that was frozen wakes with its timers due but not yet fired, and
// must not send what another worker may have overtaken meanwhile.
func (w *waiter) awaited() bool {
	if w.gone.Load() {
		return false
	}
	return w.until.IsZero() || time.Now().Add(w.until.Sub(w.arrived)/10).Before(w.until)
}

type answer struct {
	result contact.Result
	err    error
}

func (w *waiter) fail(err error) { w.answer <- answer{err: err} }

// line holds the contacts that wait for a batch, in the order of their arrival,
// and the ids of those in flight.
type line struct {
	mu       sync.Mutex
	waiting  []*waiter
	flying   map[string]bool
	arrivals rate
	closed   bool
}

func newLine() *line {
	return &line{flying: make(map[string]bool), arrivals: rate{span: arrivalSpan}}
}

// join adds a contact; false: the line is closed.
func (l *line) join(w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.arrivals.add(1, w.arrived)
	l.waiting = append(l.waiting, w)
	return true
}

// leave takes a contact out; false: it was sent.
func (l *line) leave(w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.gone.Store(true)
	if i := slices.Index(l.waiting, w); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
		return true
	}
	return false
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// finished says that the line is closed and everything in it answered.
func (l *line) finished() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed && len(l.waiting) == 0 && len(l.flying) == 0
}

// due returns when the next batch leaves; ok is false if there is none.
// underWay counts the passes that may still bring a contact, those in line and
// in flight included; zero: unknown.
func (l *line) due(now time.Time, size int, longest time.Duration, underWay int) (at time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ready := l.ready(size)
	if len(ready) == 0 {
		return time.Time{}, false
	}
	full := len(ready) >= size
	nobodyElse := underWay > 0 && underWay <= len(l.waiting)+len(l.flying)
	if l.closed || full || nobodyElse {
		return now, true
	}
	return ready[0].arrived.Add(linger(l.arrivals.perSecond(now), size, longest)), true
}

// maxBody keeps a request below the 1 MiB that nginx takes by default.
const maxBody = 900 << 10

// ready returns the contacts that the next batch may hold. A contact that is in
// flight, or earlier in line, keeps its later changes back, so that none
// overtakes another.
func (l *line) ready(size int) []*waiter {
	var ready []*waiter
	bytes := 0
	seen := make(map[string]bool, size)
	for _, w := range l.waiting {
		if l.flying[w.id] || seen[w.id] {
			continue
		}
		seen[w.id] = true
		if bytes += len(w.encoded); len(ready) == size || len(ready) > 0 && bytes > maxBody {
			break
		}
		ready = append(ready, w)
	}
	return ready
}

// cut takes the next batch from the line.
func (l *line) cut(size int) []*waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch := l.ready(size)
	for _, w := range batch {
		l.flying[w.id] = true
	}
	l.waiting = slices.DeleteFunc(l.waiting, func(w *waiter) bool { return slices.Contains(batch, w) })
	return batch
}

// land ends the flight of a batch. Deferred contacts go back to the front.
func (l *line) land(batch, deferred []*waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range batch {
		delete(l.flying, w.id)
	}
	deferred = stillAwaited(deferred)
	l.waiting = append(deferred, l.waiting...)
}

// clear takes everything out of the line.
func (l *line) clear() []*waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting := l.waiting
	l.waiting = nil
	return waiting
}

// stillAwaited returns the contacts whose callers are still there.
func stillAwaited(batch []*waiter) []*waiter {
	var awaited []*waiter
	for _, w := range batch {
		if w.awaited() {
			awaited = append(awaited, w)
		}
	}
	return awaited
}
