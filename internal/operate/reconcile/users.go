package reconcile

import (
	"cmp"
	"context"
	"slices"
	"time"

	"spillway/internal/contact"
	"spillway/internal/site"
)

// state is what is known of a contact on both sides, as sums: equal ones mean
// that nothing has changed.
type state struct{ crm, site uint64 }

// candidate is a contact that may differ.
type candidate struct {
	id    uint64
	state state
}

// scan is what reading the site's users has found.
type scan struct {
	users      int // with a contact id
	foreign    int // of them, those whose id is not one of the CRM's
	candidates []candidate
	unproven   []uint64 // contacts without a user that are too many to be looked at
	sample     []uint64 // contacts whose fields are compared
	ended      time.Time
}

// mostWithoutUser is up to how many contacts without a user are looked at again.
const mostWithoutUser = 5000

// The marks of a contact of the CRM while the site's users are read.
const (
	seen    = 1 << iota // a user carries its id
	twice               // several do
	differs             // the tags are not the same
	passed              // it had a pass since the comparison began
)

// stranger is a user whose contact carries no tag in the CRM.
type stranger struct {
	id, site uint64
	differs  bool
}

// readUsers reads what the site stores, beside what the CRM said.
func (r *run) readUsers(ctx context.Context) (*scan, error) {
	sums := &r.journal.sums
	marks, sites := make([]uint8, len(sums.ids)), make([]uint64, len(sums.ids))
	var strangers []stranger
	s := &scan{}
	bar := r.Progress.Bar("users", 0, 0)
	note := func(user site.Listed) {
		s.users++
		if _, err := contact.ParseID(user.ContactID); err != nil {
			s.foreign++
			return
		}
		id, tags := numberOf(user.ContactID), r.sumOf(user.Tags)
		if r.isSampled(id) {
			s.sample = append(s.sample, id)
		}
		late := user.AsOf >= r.journal.asOf
		at, known := sums.find(id)
		if !known {
			strangers = append(strangers, stranger{id, siteState(user.UserID, tags), tags != 0 && !late})
			return
		}
		if marks[at]&seen != 0 {
			marks[at] |= twice
		}
		marks[at] |= seen
		if tags != sums.totals[at] {
			marks[at] |= differs
		}
		if late {
			marks[at] |= passed
		}
		sites[at] += siteState(user.UserID, tags)
	}
	for after, more := int64(0), true; more; {
		began := time.Now()
		next, err := patiently(ctx, r, bar, func(ctx context.Context) (next int64, err error) {
			next, more, err = r.Site.Users(ctx, after, func(user site.Listed) error {
				note(user)
				return nil
			})
			return next, err
		})
		if err != nil {
			return nil, err
		}
		after = next
		bar.Set(int64(s.users))
		// The site is left alone for as long as it has worked.
		if more {
			if err := sleep(ctx, time.Since(began)); err != nil {
				return nil, err
			}
		}
	}
	bar.Total(max(int64(s.users), 1))
	s.ended = time.Now()
	r.sift(s, marks, sites, strangers)
	return s, nil
}

// siteState is a user's part of the site's side of a [state].
func siteState(userID int64, tags uint64) uint64 { return mixed(uint64(userID)) ^ mixed(tags) }

// sift finds the contacts that may differ.
func (r *run) sift(s *scan, marks []uint8, sites []uint64, strangers []stranger) {
	sums := &r.journal.sums
	var without []candidate
	for at, mark := range marks {
		c := candidate{sums.ids[at], state{sums.totals[at], sites[at]}}
		switch {
		case r.journal.looked[c.id]:
		case mark&seen == 0:
			without = append(without, c)
		case mark&twice != 0, mark&differs != 0 && mark&passed == 0:
			s.candidates = append(s.candidates, c)
		}
	}
	if len(without) > mostWithoutUser {
		for _, c := range without {
			s.unproven = append(s.unproven, c.id)
		}
	} else {
		s.candidates = append(s.candidates, without...)
	}
	slices.SortFunc(strangers, func(a, b stranger) int { return cmp.Compare(a.id, b.id) })
	for i := 0; i < len(strangers); {
		c, differ := candidate{id: strangers[i].id}, false
		first := i
		for ; i < len(strangers) && strangers[i].id == c.id; i++ {
			c.state.site += strangers[i].site
			differ = differ || strangers[i].differs
		}
		if (differ || i-first > 1) && !r.journal.looked[c.id] {
			s.candidates = append(s.candidates, c)
		}
	}
	slices.SortFunc(s.candidates, byID)
}

func byID(a, b candidate) int { return cmp.Compare(a.id, b.id) }

// describe says of a contact what the CRM and the site have, and how that
// differs; the kind is empty if it does not.
func (r *run) describe(id string, tags []string, gone bool, users []site.Listed) (Difference, state) {
	d := Difference{Contact: id}
	now := state{crm: r.sumOf(tags)}
	for _, user := range users {
		d.Users = append(d.Users, user.UserID)
		now.site += siteState(user.UserID, r.sumOf(user.Tags))
	}
	if len(users) == 1 {
		d.Missing, d.LeftOver = r.without(tags, users[0].Tags), r.without(users[0].Tags, tags)
	}
	switch {
	case len(users) > 1:
		d.Kind = TwoUsers
	case len(users) == 0:
		if now.crm != 0 {
			d.Kind = WithoutUser
		}
	case gone && len(d.LeftOver) > 0:
		d.Kind = ContactGone
	case len(d.Missing) > 0 && len(d.LeftOver) > 0:
		d.Kind = TagsMixed
	case len(d.Missing) > 0:
		d.Kind = TagsMissing
	case len(d.LeftOver) > 0:
		d.Kind = TagsLeftOver
	}
	return d, now
}

// without returns the compared tags of a that are not in b.
func (r *run) without(a, b []string) (rest []string) {
	for _, tag := range a {
		if r.selected(tag) && !slices.Contains(b, tag) {
			rest = append(rest, tag)
		}
	}
	return rest
}
