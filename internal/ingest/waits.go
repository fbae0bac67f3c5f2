package ingest

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"spillway/internal/contact"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
	"spillway/internal/webhook"
)

// Endings records as a [Submitter] does, for a sender that is ready to wait for
// the end of its contact's pass. wait is nil if waiting would be useless.
type Endings interface {
	Submit(ctx context.Context, ref contact.Ref, intent contact.Intent, receipt contact.Receipt, patience time.Duration) (coalesced bool, wait *pending.Wait, err error)
}

// waits decides which senders wait and how long, and bounds how many do.
type waits struct {
	most     int64
	taken    atomic.Int64
	stopping chan struct{}
	stop     func() // ends all waits
}

func newWaits(options Options) *waits {
	w := &waits{most: int64(options.AnswerWaiters), stopping: make(chan struct{})}
	w.stop = sync.OnceFunc(func() { close(w.stopping) })
	return w
}

// of returns how long the sender of a webhook is ready to wait: as long as it
// says, else an add for as long as the setting says.
func (w *waits) of(site *site, hook webhook.Hook) time.Duration {
	switch {
	case site.Endings == nil || w.most == 0:
		return 0
	case hook.HasWait:
		return hook.Wait
	case hook.Intent.Action == contact.Add:
		return site.AnswerWait
	}
	return 0
}

// take takes one of the places of those who wait; false: there is none.
func (w *waits) take() bool {
	if w.taken.Add(1) > w.most {
		w.taken.Add(-1)
		return false
	}
	return true
}

func (w *waits) leave() { w.taken.Add(-1) }

// held asks whether the passes of a site are held back.
type held struct {
	ask func(context.Context) bool // nil: nobody knows

	mu     sync.Mutex
	asked  time.Time
	answer bool
}

// heldFor is how long an answer stays good.
const heldFor = time.Second

// hindered says that passes are held back at the moment.
func (h *held) hindered(ctx context.Context) bool {
	if h.ask == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); now.Sub(h.asked) > heldFor {
		h.answer, h.asked = h.ask(ctx), now
	}
	return h.answer
}

// hold is a sender that waits.
type hold struct {
	wait  *pending.Wait
	until time.Time
}

// How a wait ended, or why there was none.
const (
	endSynced   = "synced"
	endObserved = "observed" // the pass wrote nothing, since the site is observed
	endParked   = "parked"
	endTimeout  = "timeout"
	endHungUp   = "hung_up"
	endStopping = "stopping"
	endDeclined = "declined" // the pass would not have come in time
	endFull     = "full"     // too many waited
)

// submit records a webhook. hold is nil if its sender gets an answer at once.
func (s *Server) submit(ctx context.Context, site *site, hook webhook.Hook, receipt contact.Receipt) (coalesced bool, held *hold, err error) {
	ref := contact.Ref{Site: site.Name, ID: hook.ID}
	patience := s.waits.of(site, hook)
	if patience > 0 && !s.waits.take() {
		s.metrics.waitEnded(endFull)
		patience = 0
	}
	if patience == 0 {
		coalesced, err = site.Pending.Submit(ctx, ref, hook.Intent, receipt)
		return coalesced, nil, err
	}
	until := time.Now().Add(patience)
	coalesced, wait, err := site.Endings.Submit(ctx, ref, hook.Intent, receipt, patience)
	if wait != nil && site.held.hindered(ctx) {
		wait.Leave()
		wait = nil
	}
	if wait == nil {
		s.waits.leave()
		if err == nil {
			s.metrics.waitEnded(endDeclined)
		}
		return coalesced, nil, err
	}
	return coalesced, &hold{wait, until}, nil
}

// answerTime is how long an answer may take to write after its wait.
const answerTime = 30 * time.Second

// await waits for the end of the pass that carries a webhook out, if its sender
// waits. The body of the request has been read, so a sender that hangs up is
// noticed.
func (s *Server) await(w http.ResponseWriter, r *http.Request, o *outcome) {
	if o.hold == nil {
		return
	}
	defer s.waits.leave()
	defer o.hold.wait.Leave()
	began := time.Now()
	// Deadlines of the connection count from the request's beginning; one that
	// passes looks like a sender that has hung up.
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Time{})
	_ = connection.SetWriteDeadline(o.hold.until.Add(answerTime))
	o.end, o.event = s.ending(r.Context(), o.hold, o.hook.Intent.Action)
	o.waited = time.Since(began)
	s.metrics.waitEnded(o.end)
	s.metrics.waited.Observe(o.waited.Seconds())
}

func (s *Server) ending(ctx context.Context, h *hold, asked contact.Action) (end string, event history.Event) {
	patience := time.NewTimer(time.Until(h.until))
	defer patience.Stop()
	for {
		select {
		case text := <-h.wait.Ended():
			event, ok := history.Decode(text)
			// What a Redis lost that failed over may have been numbered anew: only
			// a pass that did what was asked for counts.
			if done, known := contact.ParseAction(event.Action); !ok || !known || done < asked {
				continue
			}
			switch event.Kind {
			case history.Synced:
				return endSynced, event
			case history.Parked:
				return endParked, event
			case history.Observed:
				return endObserved, event
			}
		case <-patience.C:
			return endTimeout, event
		case <-ctx.Done():
			return endHungUp, event
		case <-s.waits.stopping:
			return endStopping, event
		}
	}
}
