package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"sync"
	"time"
)

const (
	// lock is how long a claim keeps others out, see pending.Lock. A pass that
	// goes on for longer has lost its claim, and another may begin.
	lock = 45 * time.Second
	// longFreeze is how long a worker may stand still without any pass of it
	// outlasting the lock: a pass ends itself after 40 s.
	longFreeze = 4 * time.Second
)

// watch looks at the calls of all workers and notices passes that overlap.
//
// A pass over a contact begins with a worker's first read of it (tags, or
// fields) and goes on with each later store, return or confirmation by that
// worker. Two passes overlap when one goes on after another worker's has begun.
// The time of a call is that of its arrival, before any fault.
//
// Not counted are calls of a pass that has lost its claim by the rules: one
// that was claimed longer ago than the lock lasts (one that does not say when
// counts from its first read), or whose worker was frozen for so long that its
// lock may have ended. Those are "late": a frozen process cannot know that time
// went by, and only the state at rest shows whether it did harm.
type watch struct {
	mu       sync.Mutex
	passes   map[string]map[string]*pass // by contact and worker's life
	begun    int
	late     int
	overlaps []string
	calls    map[step]int
	now      func() time.Time
}

type pass struct {
	began   time.Time // no earlier than its claim
	claimed time.Time // as its stores say; zero: it has stored nothing yet
	reads   map[step]bool
	stored  bool
	skipped bool
}

func newWatch() *watch {
	return &watch{passes: map[string]map[string]*pass{}, calls: map[step]int{}, now: time.Now}
}

func (w *watch) arrived(_ context.Context, calls []call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	for _, c := range calls {
		w.calls[c.step]++
		switch c.step {
		case readContact, readTags:
			w.read(c, now)
		default:
			w.goesOn(c, now)
		}
	}
}

// read begins a pass, or is the second read of one.
func (w *watch) read(c call, now time.Time) {
	own := w.passes[c.contact]
	if own == nil {
		own = map[string]*pass{}
		w.passes[c.contact] = own
	}
	p := own[c.by]
	second := p != nil && !p.reads[c.step] && (!p.stored || p.skipped) && w.overtaker(c, p) == ""
	if !second {
		p = &pass{began: now, reads: map[step]bool{}}
		own[c.by] = p
		w.begun++
	}
	p.reads[c.step] = true
	for life, other := range own {
		if now.Sub(other.began) > 2*lock {
			delete(own, life)
		}
	}
}

func (w *watch) goesOn(c call, now time.Time) {
	p := w.passes[c.contact][c.by]
	if p == nil {
		return // its reads never arrived here: the front is new
	}
	claimed := c.claimed
	if c.step == storing {
		p.stored = true
		if claimed.After(p.claimed) { // else it is what an earlier pass sent
			p.claimed = claimed
		}
	} else {
		claimed = p.claimed
	}
	since := p.began
	if !claimed.IsZero() {
		since = claimed
	}
	other := w.overtaker(c, p)
	if other == "" {
		return
	}
	if now.Sub(since) >= lock || c.still > longFreeze {
		w.late++
		return
	}
	w.overlaps = append(w.overlaps, fmt.Sprintf("contact %s: %s went on (%s, %.1f s into its pass) after %s had begun %.1f s before",
		c.contact, c.by, c.step, now.Sub(since).Seconds(), other, now.Sub(w.passes[c.contact][other].began).Seconds()))
}

// overtaker names a worker whose pass over the contact began after p.
func (w *watch) overtaker(c call, p *pass) string {
	for life, other := range w.passes[c.contact] {
		if life != c.by && other.began.After(p.began) {
			return life
		}
	}
	return ""
}

// acted notes the contacts that have no user on the site: only then does a pass that brings
// tags read the contact after it has stored.
func (w *watch) acted(_ context.Context, calls []call, answer []byte) {
	if calls[0].step != storing {
		return
	}
	var reply struct {
		Results []struct {
			ContactID string `json:"contact_id"`
			Outcome   string `json:"outcome"`
		} `json:"results"`
	}
	if json.Unmarshal(answer, &reply) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, result := range reply.Results {
		if p := w.passes[result.ContactID][calls[0].by]; p != nil && result.Outcome == "skipped" {
			p.skipped = true
		}
	}
}

func (w *watch) counts() (begun, late int, overlaps []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begun, w.late, append([]string(nil), w.overlaps...)
}

// quiet is for servers whose callers are killed all the time.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
