package observations

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"spillway/internal/contact"
)

// Report sums up what was observed of a site.
type Report struct {
	Site     string    `json:"site"`
	Began    time.Time `json:"began,omitzero"` // the first pass; zero: nothing was observed
	Last     time.Time `json:"last,omitzero"`
	Contacts int       `json:"contacts"`
	// Outcomes counts contacts by what storing them would do.
	Outcomes map[contact.Outcome]int `json:"outcomes"`

	// Keys and Tags are of existing users alone.
	Keys        []Count `json:"keys"`
	TagsAdded   []Count `json:"tags_added"`
	TagsRemoved []Count `json:"tags_removed"`
	Roles       []Count `json:"roles"`  // given to existing users
	Parked      []Count `json:"parked"` // by reason
	Notes       []Count `json:"notes"`

	// Cut are contacts of which not all changes are kept.
	Cut int `json:"cut"`
	// Beyond counts passes over contacts for which there was no room.
	Beyond int64 `json:"beyond"`
}

// Count is how many contacts have something in common.
type Count struct {
	Name     string   `json:"name"`
	Contacts int      `json:"contacts"`
	Examples []string `json:"contact_ids"`
}

// mostExamples is of how many contacts a count names the ids.
const mostExamples = 5

// counter makes counts.
type counter map[string]*Count

func (c counter) add(name, contactID string) {
	count := c[name]
	if count == nil {
		count = &Count{Name: name, Examples: []string{}}
		c[name] = count
	}
	count.Contacts++
	count.Examples = append(count.Examples, contactID)
	if len(count.Examples) > mostExamples {
		slices.SortFunc(count.Examples, byNumber)
		count.Examples = count.Examples[:mostExamples]
	}
}

// counts returns the most frequent first.
func (c counter) counts() []Count {
	list := make([]Count, 0, len(c))
	for _, count := range c {
		slices.SortFunc(count.Examples, byNumber)
		list = append(list, *count)
	}
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Contacts, a.Contacts), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// byNumber compares numbers without leading zeros.
func byNumber(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }

// Report reads all observations and sums them up.
func (s *Store) Report(ctx context.Context) (Report, error) {
	report := Report{Site: s.site, Outcomes: map[contact.Outcome]int{}}
	keys, added, removed, roles, parked, notes := counter{}, counter{}, counter{}, counter{}, counter{}, counter{}
	last := int64(0)
	began, beyond, err := s.Each(ctx, func(seen Seen) {
		report.Contacts++
		report.Outcomes[seen.Outcome]++
		last = max(last, seen.At)
		if seen.Cut {
			report.Cut++
		}
		for _, note := range seen.Notes {
			notes.add(kindOf(note), seen.Contact)
		}
		switch seen.Outcome {
		case contact.Parking:
			parked.add(seen.Code, seen.Contact)
			return
		case contact.Created, contact.Skipped:
			return
		}
		for _, key := range seen.Keys {
			keys.add(key, seen.Contact)
		}
		for _, tag := range seen.TagsAdded {
			added.add(tag, seen.Contact)
		}
		for _, tag := range seen.TagsRemoved {
			removed.add(tag, seen.Contact)
		}
		if seen.Role != "" {
			roles.add(seen.Role, seen.Contact)
		}
	})
	if err != nil {
		return Report{}, err
	}
	report.Began, report.Beyond = began, beyond
	if last > 0 {
		report.Last = time.Unix(last, 0).UTC()
	}
	report.Keys, report.TagsAdded, report.TagsRemoved = keys.counts(), added.counts(), removed.counts()
	report.Roles, report.Parked, report.Notes = roles.counts(), parked.counts(), notes.counts()
	return report, nil
}

// kindOf takes another contact's id off a note.
func kindOf(note string) string {
	if code, _, found := strings.Cut(note, ":"); found && code == "other_contact" {
		return code
	}
	return note
}
