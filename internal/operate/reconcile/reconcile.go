// Package reconcile compares what the CRM says of its contacts' tags with what
// the site stores, and so finds what lost webhooks have left.
//
// It asks the CRM for the contacts of each tag, a page at a time, and the site
// for its users, a page at a time. A contact whose tags are not the same on both
// sides is looked at again by itself before it counts. So a comparison costs a
// call for each page of the tags' lists and one for each difference, where a
// pass over each contact costs two.
//
// It guarantees: a difference that stood from before the comparison until its
// end is found; one that is reported stood at two looks, at least [Options.Settle]
// apart, with nothing changed between them and no work outstanding. Lists that
// shift while they are read, and contacts that are edited meanwhile, make no
// difference. A comparison that was interrupted goes on where it was, by its
// [Journal].
//
// Limits: contacts that carry no tag, neither in the CRM nor on the site, cannot
// be seen, and fields are compared of a sample alone: the CRM tells both only
// contact by contact. A contact that had a pass since the comparison began counts as right,
// since that pass has read the CRM. Of more than 5,000 tagged contacts without a
// user none is looked at again: a site with so many does not hold all contacts of
// its CRM.
package reconcile

import (
	"context"
	"time"

	"spillway/internal/contact"
	"spillway/internal/operate/progress"
	"spillway/internal/pending"
	"spillway/internal/pulse"
	"spillway/internal/site"
)

// CRM tells which contacts carry which tags.
type CRM interface {
	AllTags(ctx context.Context) ([]pulse.Tag, error)
	Tagged(ctx context.Context, tagID string, from int, each func(pulse.TaggedPage) error) error
	Tags(ctx context.Context, id string) ([]string, error)
}

// Site tells what it stores.
type Site interface {
	Users(ctx context.Context, after int64, each func(site.Listed) error) (next int64, more bool, err error)
	UsersOf(ctx context.Context, contacts []string) ([]site.Listed, error)
}

// Contacts tell which work is outstanding, and take more.
type Contacts interface {
	Lookup(ctx context.Context, ref contact.Ref) (pending.Record, error)
	Resync(ctx context.Context, ref contact.Ref, intent contact.Intent) (coalesced bool, err error)
	Stats(ctx context.Context) (pending.Stats, error)
}

// Options say what to compare.
type Options struct {
	CRM      CRM
	Site     Site
	Contacts Contacts
	Name     string // of the site
	// Now tells Redis's time, by which passes are numbered.
	Now      func(ctx context.Context) (time.Time, error)
	Tags     []string // by name or id; none: all
	Journal  *Journal
	Progress *progress.Progress
	// Fields compares the fields of FieldsPercent of the users, a sample; zero:
	// no fields are compared.
	Fields        Fields
	FieldsPercent float64
	// Settle is how long a difference must stand; zero: 10 seconds. It is longer
	// than a webhook is under way.
	Settle time.Duration
	// Patience is how long the CRM, the site or Redis may be away before the
	// comparison ends; zero: five minutes.
	Patience time.Duration
}

const (
	defaultSettle   = 10 * time.Second
	defaultPatience = 5 * time.Minute
)

// Run compares, and returns what it found. When ctx ends it returns ctx's error;
// the journal knows how far it came.
func Run(ctx context.Context, options Options) (Result, error) {
	r := newRun(options)
	if err := r.readTags(ctx); err != nil {
		return Result{}, err
	}
	scan, err := r.readUsers(ctx)
	if err != nil {
		return Result{}, err
	}
	if err := r.lookAtAll(ctx, scan); err != nil {
		return Result{}, err
	}
	result := r.result(scan)
	if options.FieldsPercent > 0 {
		if result.Fields, err = r.compareFields(ctx, scan); err != nil {
			return Result{}, err
		}
	}
	return result, nil
}

// run is one comparison.
type run struct {
	Options

	journal *Journal
	left    leftOut
}

func newRun(options Options) *run {
	if options.Settle == 0 {
		options.Settle = defaultSettle
	}
	if options.Patience == 0 {
		options.Patience = defaultPatience
	}
	return &run{Options: options, journal: options.Journal}
}

// leftOut counts contacts that differ and are not counted as differences.
type leftOut struct{ outstanding, parked, moving, refused int }

// selected says whether a tag is compared.
func (r *run) selected(tag string) bool {
	if len(r.Tags) == 0 {
		return true
	}
	_, ok := r.journal.tags[tag]
	return ok
}

// sumOf returns the sum of those tags that are compared, each once.
func (r *run) sumOf(tags []string) (total uint64) {
	for _, tag := range tags {
		if r.selected(tag) {
			total += hashOf(tag)
		}
	}
	return total
}

// patiently repeats what met an outage, until patience ends.
func patiently[T any](ctx context.Context, r *run, bar *progress.Bar, act func(ctx context.Context) (T, error)) (T, error) {
	const longest = 30 * time.Second
	deadline := time.Now().Add(r.Patience)
	for wait := time.Second; ; wait = min(2*wait, longest) {
		value, err := act(ctx)
		if err == nil {
			bar.Note("")
			return value, nil
		}
		outage, ok := contact.AsOutage(err)
		switch {
		case ctx.Err() != nil:
			return value, ctx.Err()
		case !ok || time.Now().After(deadline):
			return value, err
		}
		bar.Note("waiting: " + err.Error())
		if err := sleep(ctx, min(max(wait, outage.Outage()), time.Until(deadline)+time.Millisecond)); err != nil {
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
