// Package rotation makes a running program take up files that somebody
// replaces: access keys and certificates, which must be renewed without a
// webhook being refused.
//
// It guarantees: what cannot be read or is wrong changes nothing and is logged
// once per content; a file is taken up by itself when its content has been the
// same for two looks, so that one which is being written is not read halfway;
// a signal takes it up at once. It looks at contents, not at names or times:
// an exchanged symbolic link, as Kubernetes makes for a new Secret, is noticed
// like any other change.
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

// Item is something that is taken up anew.
type Item struct {
	// Name says in the log what it is, such as "access keys".
	Name string
	// Files returns the paths of those that hold it, which may become others. Nil:
	// it cannot change while the program runs.
	Files func() []string
	// Load reads the files and, if all is well with them, takes them up. Its
	// error must be fit for the log.
	Load func() error
}

// Options say what is watched, and how.
type Options struct {
	Items []Item
	// Signal asks to read all files at once. Nil: nobody does.
	Signal <-chan os.Signal
	Log    zerolog.Logger
}

// Watch takes up changes until ctx ends. What the files hold at its start
// counts as taken up.
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
	taken sum // what was taken up, or found wrong, last
	last  sum // what the last look saw
}

// look takes up what has changed and come to rest.
func (w *watch) look() {
	if w.item.Files == nil {
		return
	}
	now := contents(w.item)
	atRest := now == w.last
	w.last = now
	if atRest && now != w.taken {
		w.taken = now
		w.load()
	}
}

// reload takes up what there is.
func (w *watch) reload() {
	if w.item.Files == nil {
		w.log.Warn().Str("what", w.item.Name).Msg("nothing to read again: it stands in the environment, which does not change while a program runs; give it as a file")
		return
	}
	now := contents(w.item)
	w.taken, w.last = now, now
	w.load()
}

func (w *watch) load() {
	if err := w.item.Load(); err != nil {
		w.log.Error().Err(err).Str("what", w.item.Name).Msg("a changed file is wrong, what was there before stays in force")
		return
	}
	w.log.Info().Str("what", w.item.Name).Msg("a changed file was taken up")
}

// contents is one sum over all files and their names. One that cannot be read
// counts as empty; Load says what is wrong with it.
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
