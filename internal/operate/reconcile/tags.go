package reconcile

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"spillway/internal/operate/progress"
	"spillway/internal/operate/resync"
	"spillway/internal/pulse"
)

// readTags reads which contacts carry which tags, from where the journal ends.
func (r *run) readTags(ctx context.Context) error {
	j := r.journal
	if j.asOf == 0 {
		now, err := r.Now(ctx)
		if err != nil {
			return err
		}
		if err := j.note(entry{AsOf: now.UnixMicro()}); err != nil {
			return err
		}
	}
	read, _ := j.Read()
	bar := r.Progress.Bar("tags", int64(read), int64(len(j.order)))
	if j.tags == nil {
		all, err := patiently(ctx, r, bar, r.CRM.AllTags)
		if err != nil {
			return err
		}
		compared, err := resync.Select(all, r.Tags)
		if err != nil {
			return err
		}
		if compared == nil {
			compared = []pulse.Tag{}
		}
		if err := j.note(entry{Tags: compared}); err != nil {
			return err
		}
	}
	bar.Total(int64(len(j.order)))
	for _, tag := range j.order {
		if err := r.readTag(ctx, tag, bar); err != nil {
			return err
		}
		read, _ := j.Read()
		bar.Set(int64(read))
	}
	j.sums.merge()
	bar.Note(fmt.Sprintf("%d contacts", len(j.sums.ids)))
	return nil
}

// readTag reads the pages of a tag that the journal does not have.
func (r *run) readTag(ctx context.Context, tag pulse.Tag, bar *progress.Bar) error {
	j, state := r.journal, r.journal.tags[tag.ID]
	if state.read {
		return nil
	}
	last := false
	_, err := patiently(ctx, r, bar, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.CRM.Tagged(ctx, tag.ID, state.page+1, func(page pulse.TaggedPage) error {
			bar.Note(fmt.Sprintf("page %d of %d of the tag %q", page.Page, page.Last, tag.Name))
			last = page.Page >= page.Last
			return j.note(entry{Tag: tag.ID, Page: page.Page, IDs: page.IDs})
		})
	})
	switch {
	case last || err == nil:
		return j.note(entry{Tag: tag.ID, Read: true})
	case !isRefusal(err):
		return err
	}
	// The CRM knows no such page: the list has become shorter, or the tag
	// is gone.
	gone, failed := r.isGone(ctx, tag, bar)
	switch {
	case failed != nil:
		return failed
	case gone:
		return j.note(entry{Tag: tag.ID, Gone: true})
	case state.page > 0:
		return j.note(entry{Tag: tag.ID, Read: true})
	}
	return fmt.Errorf("reading the contacts of the tag %q: %w", tag.Name, err)
}

// isRefusal says that the CRM is well and does not answer this call.
func isRefusal(err error) bool {
	var rejected *pulse.Rejected
	return errors.Is(err, pulse.ErrNotFound) ||
		errors.As(err, &rejected) && rejected.Status >= http.StatusBadRequest && rejected.Status < http.StatusInternalServerError
}

// isGone says whether the CRM has no such tag any more.
func (r *run) isGone(ctx context.Context, tag pulse.Tag, bar *progress.Bar) (bool, error) {
	all, err := patiently(ctx, r, bar, r.CRM.AllTags)
	if err != nil {
		return false, err
	}
	for _, known := range all {
		if known.ID == tag.ID {
			return false, nil
		}
	}
	return true, nil
}
