package resync

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"spillway/internal/contact"
	"spillway/internal/pulse"
)

// Journal is what a run notes in a file to go on from there after an
// interruption: a line of JSON for each step. A last line that was cut off is
// ignored; the step is done again. It holds contact ids and nothing else of a
// contact.
type Journal struct {
	path string
	file *os.File

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
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the journal: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, ErrBusy
	}
	j := &Journal{path: path, file: file, known: make(map[string]bool), tags: make(map[string]tagState)}
	length, err := j.replay(selection, restart)
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	if err := j.cut(length); err != nil {
		_ = file.Close()
		return nil, err
	}
	if !j.Found {
		j.Begun = time.Now().UTC().Truncate(time.Second)
		if err := j.write(entry{Resync: selection, At: j.Begun}); err != nil {
			_ = file.Close()
			return nil, err
		}
	}
	j.earlier = j.queued
	return j, nil
}

// replay applies the lines that are there, and returns their length.
func (j *Journal) replay(selection string, restart bool) (length int64, err error) {
	content, err := io.ReadAll(j.file)
	if err != nil {
		return 0, fmt.Errorf("reading the journal: %w", err)
	}
	for first := true; ; first = false {
		line, rest, whole := bytes.Cut(content, []byte("\n"))
		var e entry
		if !whole || json.Unmarshal(line, &e) != nil {
			return length, nil
		}
		if first {
			if restart || e.Resync != selection {
				return 0, nil
			}
			j.Found, j.Begun = true, e.At
		} else {
			j.apply(e)
		}
		length += int64(len(line)) + 1
		content = rest
	}
}

// cut drops what follows the lines that count.
func (j *Journal) cut(length int64) error {
	err := j.file.Truncate(length)
	if err == nil {
		_, err = j.file.Seek(length, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("preparing the journal: %w", err)
	}
	return nil
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
	if err := j.write(e); err != nil {
		return err
	}
	j.apply(e)
	return nil
}

func (j *Journal) write(e entry) error {
	line, err := json.Marshal(e)
	if err == nil {
		_, err = j.file.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("writing the journal %s: %w", j.path, err)
	}
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
func (j *Journal) finish() error {
	if err := os.Remove(j.path); err != nil {
		return fmt.Errorf("removing the journal of the finished run: %w", err)
	}
	return nil
}

// Close lets another run have the journal.
func (j *Journal) Close() error {
	// Closing alone leaves the lock to a child that is between fork and exec.
	unlocked := syscall.Flock(int(j.file.Fd()), syscall.LOCK_UN)
	return errors.Join(unlocked, j.file.Close())
}
