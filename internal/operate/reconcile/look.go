package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"spillway/internal/contact"
	"spillway/internal/operate/progress"
	"spillway/internal/pending"
	"spillway/internal/pulse"
	"spillway/internal/site"
)

const (
	// rounds is how often a contact is looked at that changes at each look.
	rounds = 4
	// lookups is how many contacts Redis is asked about at once.
	lookups = 16
)

// lookAtAll looks at the candidates again, and notes which of them differ.
func (r *run) lookAtAll(ctx context.Context, s *scan) error {
	left := s.candidates
	bar := r.Progress.Bar("looked at", 0, int64(len(left)))
	done, since := 0, s.ended
	for round := 0; round < rounds && len(left) > 0; round++ {
		bar.Note(fmt.Sprintf("waiting until differences have stood for %s", r.Settle))
		if err := sleep(ctx, time.Until(since.Add(r.Settle))); err != nil {
			return err
		}
		bar.Note("")
		var again []candidate
		since = time.Now()
		for batch := range slices.Chunk(left, site.MostContacts) {
			moved, err := r.lookAt(ctx, bar, batch)
			if err != nil {
				return err
			}
			again = append(again, moved...)
			done += len(batch) - len(moved)
			bar.Set(int64(done))
		}
		left = again
	}
	r.left.moving = len(left)
	bar.Total(max(int64(done), 1))
	return r.journal.note(entry{Complete: true})
}

// lookAt looks at some contacts and returns those that have changed since the
// last look, as they are now.
func (r *run) lookAt(ctx context.Context, bar *progress.Bar, batch []candidate) (moved []candidate, err error) {
	ids := make([]string, len(batch))
	for i, c := range batch {
		ids[i] = textOf(c.id)
	}
	outstanding, err := r.outstanding(ctx, bar, ids)
	if err != nil {
		return nil, err
	}
	users, err := r.usersOf(ctx, bar, ids)
	if err != nil {
		return nil, err
	}
	var same []string
	var open []look
	for i, c := range batch {
		if outstanding[i] || r.hadPass(users[ids[i]]) {
			same = append(same, ids[i])
			continue
		}
		tags, gone, err := r.tagsOf(ctx, bar, ids[i])
		if rejected := (*pulse.Rejected)(nil); errors.As(err, &rejected) { // the others can be compared
			r.left.refused++
			same = append(same, ids[i])
			continue
		}
		if err != nil {
			return nil, err
		}
		if d, _ := r.describe(ids[i], tags, gone, users[ids[i]]); d.Kind == "" {
			same = append(same, ids[i])
		} else {
			open = append(open, look{c, tags, gone})
		}
	}
	if len(open) > 0 {
		more, err := r.confirm(ctx, bar, open, &moved)
		if err != nil {
			return nil, err
		}
		same = append(same, more...)
	}
	if len(same) == 0 {
		return moved, nil
	}
	return moved, r.journal.note(entry{Looked: same})
}

// look is what the CRM said of a contact.
type look struct {
	candidate

	tags []string
	gone bool
}

// confirm asks the site once more, for it may have stored a pass between its
// answer and the CRM's, and notes what differs all the same. It returns the
// contacts that do not, and adds to moved those that have changed.
func (r *run) confirm(ctx context.Context, bar *progress.Bar, open []look, moved *[]candidate) (same []string, err error) {
	ids := make([]string, len(open))
	for i, l := range open {
		ids[i] = textOf(l.id)
	}
	users, err := r.usersOf(ctx, bar, ids)
	if err != nil {
		return nil, err
	}
	outstanding, err := r.outstanding(ctx, bar, ids)
	if err != nil {
		return nil, err
	}
	for i, l := range open {
		d, now := r.describe(ids[i], l.tags, l.gone, users[ids[i]])
		switch {
		case outstanding[i], d.Kind == "":
			same = append(same, ids[i])
		case now != l.state:
			*moved = append(*moved, candidate{l.id, now})
		default:
			if err := r.journal.note(entry{Differs: &d}); err != nil {
				return nil, err
			}
		}
	}
	return same, nil
}

// hadPass says that a pass stored the contact's user since the comparison began.
func (r *run) hadPass(users []site.Listed) bool {
	return len(users) == 1 && users[0].AsOf >= r.journal.asOf
}

// outstanding says which contacts have work to come, and counts them.
func (r *run) outstanding(ctx context.Context, bar *progress.Bar, ids []string) ([]bool, error) {
	states := make([]pending.State, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	for i, id := range ids {
		group.Go(func() error {
			record, err := patiently(ctx, r, bar, func(ctx context.Context) (pending.Record, error) {
				record, err := r.Contacts.Lookup(ctx, contact.Ref{Site: r.Name, ID: id})
				return record, redisAway(err)
			})
			states[i] = record.State
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	out := make([]bool, len(ids))
	for i, state := range states {
		switch state {
		case pending.Idle:
			continue
		case pending.Parked:
			r.left.parked++
		default:
			r.left.outstanding++
		}
		out[i] = true
	}
	return out, nil
}

// usersOf asks the site for the users of contacts.
func (r *run) usersOf(ctx context.Context, bar *progress.Bar, ids []string) (map[string][]site.Listed, error) {
	list, err := patiently(ctx, r, bar, func(ctx context.Context) ([]site.Listed, error) { return r.Site.UsersOf(ctx, ids) })
	if err != nil {
		return nil, err
	}
	users := make(map[string][]site.Listed, len(list))
	for _, user := range list {
		users[user.ContactID] = append(users[user.ContactID], user)
	}
	return users, nil
}

// tagsOf asks the CRM for the tags of a contact.
func (r *run) tagsOf(ctx context.Context, bar *progress.Bar, id string) (tags []string, gone bool, err error) {
	tags, err = patiently(ctx, r, bar, func(ctx context.Context) ([]string, error) { return r.CRM.Tags(ctx, id) })
	if errors.Is(err, pulse.ErrNotFound) {
		return nil, true, nil
	}
	return tags, false, err
}

// redisAway makes an error of Redis an outage: nothing else is wrong with a
// question about a contact.
func redisAway(err error) error {
	if err == nil {
		return nil
	}
	return &away{err}
}

type away struct{ error }

// Outage returns zero: Redis does not say how long it will be away.
func (*away) Outage() time.Duration { return 0 }

// Unwrap returns Redis's error.
func (e *away) Unwrap() error { return e.error }
