package resync

import (
	"encoding/json"
	"errors"
	"time"

	"spillway/internal/contact"
	"spillway/internal/operate/journal"
	"spillway/internal/pulse"
)

// Journal is what a run notes in a file to go on from there after an
// interruption: a line of JSON for each step. A last line that was cut off is
// ignored; the step is done again. It holds contact ids and nothing else of a
// contact.
type Journal struct {
	file *journal.File

	// Begun is when the first run began.
	Begun time.Time
	// Found says that there was an earlier run.
	Found bool

	ids      []string // in the order in which they were found
	known    map[string]bool
	skipped  int
	tags     map[string]tagState
	complete bool // ids is the whole list
	queued   int
	earlier  int // of queued
}

// tagState is how far a tag's list was read.
type tagState struct {
	page    int // the last one that was read
	ended   bool
	total   int // what the first page told
	changed bool
	read    bool
}

// entry is a line of the journal. Each kind uses some of the members.
type entry struct {
	Resync string    `json:"resync,omitempty"` // the first line: the selection
	At     time.Time `json:"at,omitzero"`

	Tag   string   `json:"tag,omitempty"`
	Page  int      `json:"page,omitempty"`
	Total int      `json:"total,omitempty"`
	Ended bool     `json:"ended,omitempty"` // the page is the list's last
	IDs   []string `json:"ids,omitempty"`
	Again bool     `json:"again,omitempty"` // the tag's list is read from its beginning
	Read  bool     `json:"read,omitempty"`  // it was read to its end

	Complete bool `json:"complete,omitempty"`
	Queued   int  `json:"queued,omitempty"`
}

// ErrBusy reports that another run uses the journal.
var ErrBusy = errors.New("the same resync runs already: wait for it, or stop it")

// OpenJournal opens the journal of a selection, a new one if there is none, if
// restart says so, or if what is there belongs to another selection. One
// process at a time can have it open.
func OpenJournal(path, selection string, restart bool) (*Journal, error) {
	j := &Journal{known: make(map[string]bool), tags: make(map[string]tagState)}
	file, err := journal.Open(path, func(number int, line []byte) bool {
		var e entry
		switch {
		case json.Unmarshal(line, &e) != nil, number == 0 && (restart || e.Resync != selection):
			return false
		case number == 0:
			j.Found, j.Begun = true, e.At
		default:
			j.apply(e)
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
		j.Begun = time.Now().UTC().Truncate(time.Second)
		if err := j.file.Note(entry{Resync: selection, At: j.Begun}); err != nil {
			return nil, errors.Join(err, j.file.Close())
		}
	}
	j.earlier = j.queued
	return j, nil
}

func (j *Journal) apply(e entry) {
	for _, id := range e.IDs {
		if _, err := contact.ParseID(id); err != nil || j.known[id] {
			j.skipped++
			continue
		}
		j.known[id] = true
		j.ids = append(j.ids, id)
	}
	if e.Tag != "" {
		state := j.tags[e.Tag]
		switch {
		case e.Again:
			state = tagState{}
		case e.Read:
			state.read = true
		default:
			if e.Page == 1 {
				state.total = e.Total
			}
			state.page, state.ended = e.Page, e.Ended
			state.changed = state.changed || e.Total != state.total
		}
		j.tags[e.Tag] = state
	}
	j.complete = j.complete || e.Complete
	j.queued = max(j.queued, min(e.Queued, len(j.ids)))
}

// note writes a step and applies it.
func (j *Journal) note(e entry) error {
	if err := j.file.Note(e); err != nil {
		return err
	}
	j.apply(e)
	return nil
}

func (j *Journal) noteList(ids []string) error { return j.note(entry{IDs: ids}) }

func (j *Journal) notePage(tag string, page pulse.TaggedPage) error {
	return j.note(entry{Tag: tag, Page: page.Page, Total: page.Total, Ended: page.Page >= page.Last, IDs: page.IDs})
}

func (j *Journal) noteAgain(tag string) error  { return j.note(entry{Tag: tag, Again: true}) }
func (j *Journal) noteRead(tag string) error   { return j.note(entry{Tag: tag, Read: true}) }
func (j *Journal) noteComplete() error         { return j.note(entry{Complete: true}) }
func (j *Journal) noteQueued(queued int) error { return j.note(entry{Queued: queued}) }

// Queued returns how many of how many contacts were handed over so far, and
// whether the list is complete.
func (j *Journal) Queued() (queued, selected int, complete bool) {
	return j.queued, len(j.ids), j.complete
}

// finish removes the journal of a run that has come to its end.
func (j *Journal) finish() error { return j.file.Remove() }

// Close lets another run have the journal.
func (j *Journal) Close() error { return j.file.Close() }
