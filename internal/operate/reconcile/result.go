package reconcile

import (
	"slices"
	"time"

	"spillway/internal/contact"
)

// Kind is how a contact differs. Each contact that differs has one.
type Kind string

// The kinds of differences.
const (
	TagsMissing  Kind = "tags_missing"   // the user lacks tags that the contact has
	TagsLeftOver Kind = "tags_left_over" // the user has tags that the contact lacks
	TagsMixed    Kind = "tags_mixed"     // both
	WithoutUser  Kind = "without_user"   // the contact has tags, and no user carries its id
	ContactGone  Kind = "contact_gone"   // the user has tags, and the CRM has no such contact
	TwoUsers     Kind = "two_users"      // several users carry the contact's id
)

// Kinds are all kinds, in the order in which they are shown.
var Kinds = [...]Kind{TagsMissing, TagsLeftOver, TagsMixed, WithoutUser, ContactGone, TwoUsers}

const (
	kinds = uint8(len(Kinds))
	// mostExamples is of how many contacts of a kind the details are kept. Of
	// the others the id and the kind are.
	mostExamples = 1000
)

func kindNumber(kind Kind) uint8 {
	if at := slices.Index(Kinds[:], kind); at >= 0 {
		return uint8(at)
	}
	return kinds
}

// found is a contact that differs.
type found struct {
	id   uint64
	kind uint8
}

// Difference is a contact that differs, with what differs.
type Difference struct {
	Contact  string   `json:"contact_id"`
	Kind     Kind     `json:"kind"`
	Users    []int64  `json:"user_ids,omitempty"`
	Missing  []string `json:"missing,omitempty"`   // tags that the user lacks, by id
	LeftOver []string `json:"left_over,omitempty"` // tags that the contact lacks
}

// Result is what a comparison found.
type Result struct {
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	Tags  int       `json:"tags"` // that were compared
	// Contacts carry one of them in the CRM; Users of the site carry a contact id.
	Contacts int `json:"contacts"`
	Users    int `json:"users"`
	// Foreign users carry something that is no contact id of the CRM.
	Foreign int `json:"foreign"`
	// Differences counts contacts by kind.
	Differences map[Kind]int `json:"differences"`
	// Unproven says that the contacts without a user, being many, were counted
	// from the lists alone.
	Unproven bool `json:"unproven,omitempty"`
	// Outstanding and Parked contacts may differ: their passes are still to come,
	// or have failed for good. Moving ones changed at each look. Of Refused ones the
	// CRM gives no tags.
	Outstanding int `json:"outstanding"`
	Parked      int `json:"parked"`
	Moving      int `json:"moving"`
	Refused     int `json:"refused"`
	// Gone are tags that were deleted in the CRM meanwhile.
	Gone []string `json:"deleted_tags,omitempty"`
	// Examples are what differs, of a thousand contacts of each kind at most.
	Examples []Difference `json:"examples"`
	// Fields is what comparing the fields of a sample found; nil: they were not
	// compared.
	Fields *FieldsResult `json:"fields,omitempty"`

	found []found
}

// Total is how many contacts differ.
func (r Result) Total() (n int) {
	for _, count := range r.Differences {
		n += count
	}
	return n
}

// repairable returns the contacts whose differences passes take away: by an
// update, or by an add.
func (r Result) repairable(how Repair) (update, add []string) {
	for _, f := range r.found {
		switch action, ok := how.action(Kinds[f.kind]); {
		case !ok:
		case action == contact.Add:
			add = append(add, textOf(f.id))
		default:
			update = append(update, textOf(f.id))
		}
	}
	return update, add
}

func (r *run) result(scan *scan) Result {
	result := Result{
		Began: r.journal.Begun, Ended: time.Now().UTC().Truncate(time.Second),
		Tags: len(r.journal.order), Contacts: len(r.journal.sums.ids), Users: scan.users, Foreign: scan.foreign,
		Differences: make(map[Kind]int, kinds), Unproven: scan.unproven != nil,
		Outstanding: r.left.outstanding, Parked: r.left.parked, Moving: r.left.moving, Refused: r.left.refused,
		Examples: append([]Difference{}, r.journal.examples...), found: slices.Clone(r.journal.found),
	}
	for _, id := range scan.unproven {
		result.found = append(result.found, found{id, kindNumber(WithoutUser)})
	}
	for _, kind := range Kinds {
		result.Differences[kind] = 0
	}
	for _, f := range result.found {
		result.Differences[Kinds[f.kind]]++
	}
	for _, tag := range r.journal.order {
		if r.journal.tags[tag.ID].gone {
			result.Gone = append(result.Gone, tag.ID)
		}
	}
	return result
}
