// Package rotation makes a running program apply files that somebody replaces:
// access keys, certificates and sites, which must be renewed without refusing a
// webhook.
//
// It guarantees: a file that is wrong or cannot be read changes nothing, and is
// logged once per content and error. What could not be applied is tried again at
// each look, since the cause may be elsewhere, such as a Redis that is away. A
// changed file is applied when two looks in a row
// found the same content, so a file is never read while it is half written; a
// signal applies it at once. It compares contents, not names or times, so it
// also notices an exchanged symbolic link, as Kubernetes makes for a new Secret.
package rotation

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
)

// every is how often files are looked at.
const every = 2 * time.Second

// largest bounds what is read of a file to tell whether it changed.
const largest = 1 << 20

// Item is something that is read again when its files change.
type Item struct {
	// Name is what the log calls it, such as "access keys".
	Name string
	// Files returns the paths of its files, which may differ from call to call.
	// Nil: it cannot change while the program runs.
	Files func() []string
	// Load reads the files and applies them if they are right. Its error must
	// hold no secret, since it is logged.
	Load func() error
}

// Options say what is watched, and how.
type Options struct {
	Items []Item
	// Signal makes Watch read all files at once. Nil: there is no signal.
	Signal <-chan os.Signal
	Log    zerolog.Logger
}

// Watch applies changes until ctx ends. It takes the files' content at its start
// as applied.
func Watch(ctx context.Context, o Options) {
	watched := make([]*watch, len(o.Items))
	for i, item := range o.Items {
		now := contents(item)
		watched[i] = &watch{item: item, log: o.Log, taken: now, last: now}
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.Signal:
			for _, w := range watched {
				w.reload()
			}
		case <-ticker.C:
			for _, w := range watched {
				w.look()
			}
		}
	}
}

type sum = [sha256.Size]byte

type watch struct {
	item  Item
	log   zerolog.Logger
	taken sum // of what was applied last
	last  sum // of what the last look saw

	failed sum    // of what could not be applied, and
	reason string // why; empty: nothing failed since
}

// look applies what has changed and has stayed the same since the last look.
func (w *watch) look() {
	if w.item.Files == nil {
		return
	}
	now := contents(w.item)
	atRest := now == w.last
	w.last = now
	switch {
	case !atRest:
	case now != w.taken:
		w.load(now)
	case w.reason != "": // somebody took the change back
		w.reason = ""
	}
}

// reload applies the files as they are.
func (w *watch) reload() {
	if w.item.Files == nil {
		w.log.Warn().Str("what", w.item.Name).Msg("nothing to read again: it stands in the environment, which does not change while a program runs; give it as a file")
		return
	}
	now := contents(w.item)
	w.last, w.reason = now, "" // who asks gets an answer
	w.load(now)
}

func (w *watch) load(now sum) {
	if err := w.item.Load(); err != nil {
		if now != w.failed || err.Error() != w.reason {
			w.log.Error().Err(err).Str("what", w.item.Name).Msg("a changed file is not taken up, what was there before stays in force")
		}
		w.failed, w.reason = now, err.Error()
		return
	}
	w.taken, w.reason = now, ""
	w.log.Info().Str("what", w.item.Name).Msg("a changed file was taken up")
}

// contents is one sum over all files and their names. A file that cannot be read
// counts as empty; Load reports what is wrong with it.
func contents(item Item) sum {
	all := sha256.New()
	if item.Files == nil {
		return sum(all.Sum(nil))
	}
	for _, path := range item.Files() {
		one := sha256.New()
		_, _ = io.WriteString(one, path+"\x00")
		if file, err := os.Open(path); err == nil {
			_, _ = io.Copy(one, io.LimitReader(file, largest))
			_ = file.Close()
		}
		all.Write(one.Sum(nil)) // of equal length, so that no two lists read alike
	}
	return sum(all.Sum(nil))
}
