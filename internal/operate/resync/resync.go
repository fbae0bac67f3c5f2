// Package resync asks for a pass over many contacts: those of a list, those
// that carry a tag, or those that carry any.
//
// It guarantees: when [Run] returns nil, every contact of the selection has been
// handed to the workers, once each however many tags it carries. It adds no work
// while more contacts than [Options.Outstanding] have outstanding work, those of
// webhooks included, so webhooks never wait behind a long line. A run that was
// interrupted continues where it was, by its [Journal]. It may hand over the last
// contacts once more, which does no harm.
//
// Limits: a list of the CRM that changes while it is read page by page can hide
// a contact. It is read again when its length has changed, three times in all;
// contacts whose own tags change cause webhooks anyway.
package resync

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"spillway/internal/contact"
	"spillway/internal/operate/progress"
	"spillway/internal/pending"
)

// Contacts is where work is asked for.
type Contacts interface {
	Resync(ctx context.Context, ref contact.Ref, intent contact.Intent) (coalesced bool, err error)
	Lookup(ctx context.Context, ref contact.Ref) (pending.Record, error)
	Stats(ctx context.Context) (pending.Stats, error)
}

// Options say what to resync and how gently.
type Options struct {
	Source   Source
	Contacts Contacts
	Site     string
	Action   contact.Action
	// Outstanding is how many contacts may have outstanding work, whatever
	// caused it, before more are added.
	Outstanding int
	// Wait makes Run return when the contacts are synced or parked, instead of
	// when they are all queued.
	Wait     bool
	Journal  *Journal
	Progress *progress.Progress
}

// Result says how far a run came.
type Result struct {
	Selected int `json:"selected"` // contacts, each counted once
	Skipped  int `json:"skipped"`  // elements that are no contact ids, or were there already
	Queued   int `json:"queued"`   // handed to the workers, earlier runs included
	Earlier  int `json:"earlier"`  // of them, by earlier runs
	Synced   int `json:"synced"`   // seen to be done; 0 without Wait
	Parked   int `json:"parked"`   // seen to be parked
}

const (
	// poll is the time between two looks at Redis.
	poll = 100 * time.Millisecond
	// atOnce is how many contacts are handed over, or looked up, side by side.
	atOnce = 16
	// chunk is how many are handed over between two notes in the journal.
	chunk = 100
	// patience is how long Redis may be away.
	patience = time.Minute
)

// Run hands the contacts over. When ctx ends it returns ctx's error with what
// was done so far; the journal knows it, too.
func Run(ctx context.Context, options Options) (Result, error) {
	if err := collect(ctx, options); err != nil {
		return result(options.Journal), err
	}
	return handOver(ctx, options)
}

func result(journal *Journal) Result {
	return Result{Selected: len(journal.ids), Skipped: journal.skipped, Queued: journal.queued, Earlier: journal.earlier}
}

// handOver queues what the journal has not noted as queued.
func handOver(ctx context.Context, options Options) (Result, error) {
	journal := options.Journal
	total := int64(len(journal.ids))
	if total == 0 {
		return result(journal), journal.finish()
	}
	name := "queued"
	if options.Wait {
		name = "synced"
	}
	bar := options.Progress.Bar(name, int64(journal.queued), total)
	var watched watch
	for {
		stats, err := patiently(ctx, bar, func(ctx context.Context) (pending.Stats, error) { return options.Contacts.Stats(ctx) })
		if err != nil {
			return watched.add(result(journal)), err
		}
		room := options.Outstanding - int(stats.Pending+stats.Active+stats.Retrying)
		for room > 0 && journal.queued < len(journal.ids) {
			next := journal.ids[journal.queued:]
			next = next[:min(len(next), room, chunk)]
			if err := queue(ctx, options, bar, next); err != nil {
				return watched.add(result(journal)), err
			}
			if err := journal.noteQueued(journal.queued + len(next)); err != nil {
				return watched.add(result(journal)), err
			}
			room -= len(next)
			if options.Wait {
				watched.waiting = append(watched.waiting, next...)
			}
		}
		if err := watched.look(ctx, options, bar); err != nil {
			return watched.add(result(journal)), err
		}
		bar.Note(noteOf(stats))
		bar.Set(int64(journal.queued - len(watched.waiting)))
		if journal.queued == len(journal.ids) && len(watched.waiting) == 0 {
			return watched.add(result(journal)), journal.finish()
		}
		if err := sleep(ctx, poll); err != nil {
			return watched.add(result(journal)), err
		}
	}
}

// noteOf says why it may be slow.
func noteOf(stats pending.Stats) string {
	if stats.Paused {
		return "paused: go on with `spillway resume`"
	}
	if stats.Retrying > 0 {
		return fmt.Sprintf("%d wait for another attempt", stats.Retrying)
	}
	return ""
}

func queue(ctx context.Context, options Options, bar *progress.Bar, ids []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, id := range ids {
		group.Go(func() error {
			_, err := patiently(ctx, bar, func(ctx context.Context) (bool, error) {
				return options.Contacts.Resync(ctx, contact.Ref{Site: options.Site, ID: id}, contact.Intent{Action: options.Action})
			})
			return err
		})
	}
	return group.Wait()
}

// patiently repeats what Redis did not answer, for a minute.
func patiently[T any](ctx context.Context, bar *progress.Bar, act func(ctx context.Context) (T, error)) (T, error) {
	deadline := time.Now().Add(patience)
	for {
		value, err := act(ctx)
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			if err != nil && ctx.Err() != nil {
				err = ctx.Err()
			}
			return value, err
		}
		bar.Note("Redis does not answer")
		if err := sleep(ctx, time.Second); err != nil {
			return value, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// watch follows the contacts that were handed over.
type watch struct {
	waiting        []string
	synced, parked int
}

func (w *watch) add(r Result) Result {
	r.Synced, r.Parked = w.synced, w.parked
	return r
}

// look finds out which contacts are done. They are done about in the order in
// which they were handed over, so it goes on only while it finds some.
func (w *watch) look(ctx context.Context, options Options, bar *progress.Bar) error {
	const glance = 4 * atOnce
	var left []string
	for len(w.waiting) > 0 {
		some := w.waiting[:min(len(w.waiting), glance)]
		states := make([]pending.State, len(some))
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(atOnce)
		for i, id := range some {
			group.Go(func() error {
				record, err := patiently(groupCtx, bar, func(ctx context.Context) (pending.Record, error) {
					return options.Contacts.Lookup(ctx, contact.Ref{Site: options.Site, ID: id})
				})
				states[i] = record.State
				return err
			})
		}
		if err := group.Wait(); err != nil {
			w.waiting = append(left, w.waiting...)
			return err
		}
		found := 0
		for i, id := range some {
			switch states[i] {
			case pending.Idle:
				w.synced++
				found++
			case pending.Parked:
				w.parked++
				found++
			default:
				left = append(left, id)
			}
		}
		w.waiting = w.waiting[len(some):]
		if found == 0 {
			break
		}
	}
	w.waiting = append(left, w.waiting...)
	return nil
}
