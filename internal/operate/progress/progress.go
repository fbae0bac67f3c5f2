// Package progress shows how far long work has come. In a terminal it shows bars
// with rate and time left; elsewhere it writes a line now and then, so that a log
// stays readable. It never fails: a terminal that has gone is no reason to stop
// the work.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// quiet is the longest time without a line where there is no terminal.
const quiet = 15 * time.Second

// Progress is a stack of bars.
type Progress struct {
	out  io.Writer
	bars *mpb.Progress // nil: lines

	mu  sync.Mutex
	all []*Bar
}

// New returns a progress that is shown on out: in bars if out is a terminal
// that knows its width.
func New(out io.Writer) *Progress {
	p := &Progress{out: out}
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return p
	}
	if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
		p.bars = mpb.New(mpb.WithOutput(file), mpb.WithWidth(40))
	}
	return p
}

// Bar is one piece of work.
type Bar struct {
	progress *Progress
	name     string
	bar      *mpb.Bar
	open     bool // it began without a total, so it does not end by itself

	mu    sync.Mutex
	meter meter
	note  string
	shown int64 // tenths that a line was written for
	wrote time.Time
}

// Bar adds a piece of work of which done of total is done already. A total that
// is not known yet is 0.
func (p *Progress) Bar(name string, done, total int64) *Bar {
	b := &Bar{progress: p, name: name, open: total <= 0, meter: newMeter(time.Now(), done, total), wrote: time.Now()}
	if p.bars != nil {
		b.bar = p.bars.AddBar(max(total, 0),
			mpb.PrependDecorators(decor.Name(fmt.Sprintf("%-9s", name))),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return b.text() })))
		if done > 0 {
			b.bar.SetCurrent(done)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, b)
	return b
}

// Total changes how much there is to do.
func (b *Bar) Total(total int64) {
	b.mu.Lock()
	b.meter.total = total
	b.mu.Unlock()
	if b.bar != nil && b.open && total > 0 {
		b.bar.SetTotal(total, false)
	}
}

// Note shows a word beside the figures until another one, or none, replaces it.
// Without a terminal it is a line of its own.
func (b *Bar) Note(note string) {
	b.mu.Lock()
	changed := note != b.note
	b.note = note
	b.mu.Unlock()
	if changed && note != "" && b.bar == nil {
		say(b.progress.out, "%s %s\n", b.name, b.text())
	}
}

// Set tells how much is done. Without a terminal it writes a line for each
// tenth, and one each 15 seconds.
func (b *Bar) Set(done int64) {
	now := time.Now()
	b.mu.Lock()
	b.meter.set(now, done)
	tenths := b.meter.tenths()
	due := tenths > b.shown || now.Sub(b.wrote) >= quiet
	if due {
		b.shown, b.wrote = tenths, now
	}
	b.mu.Unlock()
	if b.bar != nil {
		b.bar.SetCurrent(done)
	} else if due {
		say(b.progress.out, "%s %s\n", b.name, b.text())
	}
}

// text is what stands beside the bar.
func (b *Bar) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.meter.text(time.Now())
	if b.note != "" {
		text += " (" + b.note + ")"
	}
	return text
}

// Wait returns when all bars are drawn to their end. Bars that did not get
// there are left as they stand.
func (p *Progress) Wait() {
	if p.bars == nil {
		return
	}
	p.mu.Lock()
	for _, b := range p.all {
		b.bar.Abort(false) // no effect on a bar that is complete
	}
	p.mu.Unlock()
	p.bars.Wait()
}

func say(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format, args...)
}
