package reconcile

import (
	"encoding/json"
	"errors"
	"time"

	"spillway/internal/contact"
	"spillway/internal/operate/journal"
	"spillway/internal/pulse"
)

// Journal is how far a comparison has come: which tags it has read, and what it
// found. With a file it goes on from there after an interruption. It holds ids
// of contacts, users and tags, and the tags' names.
type Journal struct {
	file *journal.File // nil: in memory alone

	// Begun is when the comparison began.
	Begun time.Time
	// Found says that there was an earlier run.
	Found bool

	asOf  int64 // when it began, by Redis's clock in microseconds; zero: not noted yet
	order []pulse.Tag
	tags  map[string]*tagState // nil: the CRM's list is not read yet

	reading []uint64 // contacts of the tag that is being read
	sums    sums

	looked   map[uint64]bool // contacts that were looked at to the end
	found    []found
	examples []Difference
	perKind  [kinds]int
	complete bool
}

// tagState is how far a tag's list was read.
type tagState struct {
	page int // the last one that was read
	read bool
	gone bool // the CRM has no such tag any more
}

// entry is a line of the journal. Each kind uses some of the members.
type entry struct {
	Reconcile string    `json:"reconcile,omitempty"` // the first line: what is compared
	At        time.Time `json:"at,omitzero"`

	AsOf int64       `json:"as_of,omitempty"`
	Tags []pulse.Tag `json:"tags,omitempty"` // what the CRM has, as far as it is compared

	Tag  string   `json:"tag,omitempty"`
	Page int      `json:"page,omitempty"`
	IDs  []string `json:"ids,omitempty"`
	Read bool     `json:"read,omitempty"` // the tag was read to its end
	Gone bool     `json:"gone,omitempty"`

	Looked   []string    `json:"looked,omitempty"` // contacts that do not differ
	Differs  *Difference `json:"differs,omitempty"`
	Complete bool        `json:"complete,omitempty"`
}

// ErrBusy reports that another process uses the journal.
var ErrBusy = errors.New("the same comparison runs already: wait for it, or stop it")

// lifetime is how old a comparison may be that is gone on with. What was lost in
// the meantime, before a pass of the same contact, would not be seen.
const lifetime = 12 * time.Hour

// NewJournal returns a journal that is kept in memory alone.
func NewJournal() *Journal {
	return &Journal{Begun: time.Now().UTC().Truncate(time.Second), looked: map[uint64]bool{}}
}

// OpenJournal opens the journal of a comparison: a new one if there is none, if
// restart says so, or if what is there is older than 12 hours or of another
// comparison. One process at a time can have it open.
func OpenJournal(path, compared string, restart bool) (*Journal, error) {
	j := NewJournal()
	file, err := journal.Open(path, func(number int, line []byte) bool {
		var e entry
		switch {
		case json.Unmarshal(line, &e) != nil:
			return false
		case number > 0:
			j.apply(e)
		case restart || e.Reconcile != compared || time.Since(e.At) > lifetime:
			return false
		default:
			j.Found, j.Begun = true, e.At
		}
		return true
	})
	if errors.Is(err, journal.ErrBusy) {
		return nil, ErrBusy
	}
	if err != nil {
		return nil, err
	}
	j.file = file
	if !j.Found {
		if err := j.file.Note(entry{Reconcile: compared, At: j.Begun}); err != nil {
			return nil, errors.Join(err, j.file.Close())
		}
	}
	return j, nil
}

// note writes a step and applies it.
func (j *Journal) note(e entry) error {
	if j.file != nil {
		if err := j.file.Note(e); err != nil {
			return err
		}
	}
	j.apply(e)
	return nil
}

func (j *Journal) apply(e entry) {
	switch {
	case e.AsOf != 0:
		j.asOf = e.AsOf
	case e.Tags != nil:
		j.order, j.tags = e.Tags, make(map[string]*tagState, len(e.Tags))
		for _, tag := range e.Tags {
			j.tags[tag.ID] = &tagState{}
		}
	case e.Tag != "":
		j.applyTag(e)
	case e.Differs != nil:
		j.applyFound(*e.Differs)
	case e.Looked != nil:
		for _, id := range e.Looked {
			j.looked[numberOf(id)] = true
		}
	case e.Complete:
		j.complete = true
	}
}

func (j *Journal) applyTag(e entry) {
	state, ok := j.tags[e.Tag]
	if !ok {
		return
	}
	for _, id := range e.IDs {
		if _, err := contact.ParseID(id); err == nil {
			j.reading = append(j.reading, numberOf(id))
		}
	}
	state.page = max(state.page, e.Page)
	switch {
	case e.Gone:
		state.gone, state.read = true, true
		j.reading = j.reading[:0]
	case e.Read:
		state.read = true
		j.sums.add(hashOf(e.Tag), j.reading)
		j.reading = j.reading[:0]
	}
}

func (j *Journal) applyFound(d Difference) {
	id, kind := numberOf(d.Contact), kindNumber(d.Kind)
	if kind == kinds || j.looked[id] {
		return
	}
	j.looked[id] = true
	j.found = append(j.found, found{id, kind})
	if j.perKind[kind]++; j.perKind[kind] <= mostExamples {
		j.examples = append(j.examples, d)
	}
}

// Read returns how many of how many tags were read so far.
func (j *Journal) Read() (read, tags int) {
	for _, state := range j.tags {
		if state.read {
			read++
		}
	}
	return read, len(j.tags)
}

// Finish removes the journal of a comparison that is no longer needed.
func (j *Journal) Finish() error {
	if j.file == nil {
		return nil
	}
	return j.file.Remove()
}

// Close lets another process have the journal.
func (j *Journal) Close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}
