package resync

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"spillway/internal/contact"
	"spillway/internal/operate/progress"
	"spillway/internal/pulse"
)

// CRM lists contacts.
type CRM interface {
	AllTags(ctx context.Context) ([]pulse.Tag, error)
	Tagged(ctx context.Context, tagID string, from int, each func(pulse.TaggedPage) error) error
}

// Source is where the contacts of a selection come from.
type Source interface {
	// Name identifies the selection: a journal belongs to one.
	Name() string
	// read notes contacts in the journal, from where that one ends.
	read(ctx context.Context, journal *Journal, shown *progress.Progress) error
}

// collect completes the journal's list of contacts.
func collect(ctx context.Context, options Options) error {
	if options.Journal.complete {
		return nil
	}
	if err := options.Source.read(ctx, options.Journal, options.Progress); err != nil {
		return err
	}
	return options.Journal.noteComplete()
}

// List is a selection of contacts by their ids.
type List struct {
	name string
	ids  []string
}

// IDs is a selection of contacts that the caller has; name tells it from others.
func IDs(name string, ids []string) *List { return &List{name: name, ids: ids} }

// ReadList reads a file of contact ids, one a line; what follows a comma, a
// semicolon or a space is left out, so that an export's first column will do.
// Empty lines and those that begin with # do not count, nor does a first line
// that is no id, being a heading. The error names the lines that are wrong.
func ReadList(path string) (*List, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading contact ids: %w", err)
	}
	digest := sha256.Sum256(content)
	list := &List{name: "file " + hex.EncodeToString(digest[:8])}
	lines := bufio.NewScanner(strings.NewReader(strings.TrimPrefix(string(content), "\ufeff")))
	var wrong []string
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if at := strings.IndexAny(line, ",; \t"); at >= 0 {
			line = line[:at]
		}
		id, err := contact.ParseID(strings.Trim(line, `"`))
		switch {
		case err == nil:
			list.ids = append(list.ids, id)
		case number > 1:
			wrong = append(wrong, fmt.Sprint(number))
		}
	}
	const shown = 5
	switch {
	case lines.Err() != nil:
		return nil, fmt.Errorf("reading contact ids from %s: %w", path, lines.Err())
	case len(wrong) > shown:
		return nil, fmt.Errorf("%s: %d lines hold no contact id, the first are %s: %w", path, len(wrong), strings.Join(wrong[:shown], ", "), contact.ErrInvalidID)
	case len(wrong) > 0:
		return nil, fmt.Errorf("%s: no contact id in line %s: %w", path, strings.Join(wrong, ", "), contact.ErrInvalidID)
	case len(list.ids) == 0:
		return nil, fmt.Errorf("%s holds no contact ids", path)
	}
	return list, nil
}

// Name identifies the list's content.
func (l *List) Name() string { return l.name }

func (l *List) read(_ context.Context, journal *Journal, _ *progress.Progress) error {
	if len(journal.ids) > 0 {
		return nil // an earlier run was cut off right after it
	}
	return journal.noteList(l.ids)
}

// Tags selects the contacts that carry certain tags, or any.
type Tags struct {
	crm   CRM
	names []string // empty: all tags
}

// ByTags selects the contacts that carry one of the tags, which are named by
// name or id. Without any it selects the contacts that carry a tag at all.
func ByTags(crm CRM, names ...string) *Tags { return &Tags{crm: crm, names: names} }

// Name lists the tags as they were named.
func (t *Tags) Name() string {
	if len(t.names) == 0 {
		return "all tagged"
	}
	return fmt.Sprintf("tags %q", t.names)
}

// errChanged ends the reading of a list that must be read again.
var errChanged = errors.New("the list changed while it was read")

func (t *Tags) read(ctx context.Context, journal *Journal, shown *progress.Progress) error {
	tags, err := t.resolve(ctx)
	if err != nil {
		return err
	}
	several := len(tags) != 1
	var bar *progress.Bar
	if several {
		bar = shown.Bar("tags read", 0, int64(len(tags)))
	} else {
		bar = shown.Bar("read", int64(len(journal.ids)), 0)
	}
	for i, tag := range tags {
		for attempt := 1; ; attempt++ {
			err := t.readTag(ctx, tag, journal, func(page pulse.TaggedPage) {
				if several {
					bar.Note(fmt.Sprintf("%d contacts", len(journal.ids)))
					return
				}
				bar.Total(int64(page.Total))
				bar.Set(int64(len(journal.ids)))
			})
			if err == nil {
				break
			}
			if !errors.Is(err, errChanged) {
				return err
			}
			const most = 3
			if attempt == most {
				break
			}
			if err := journal.noteAgain(tag.ID); err != nil {
				return err
			}
		}
		if err := journal.noteRead(tag.ID); err != nil {
			return err
		}
		if several {
			bar.Set(int64(i + 1))
		}
	}
	if !several {
		bar.Total(int64(len(journal.ids)))
		bar.Set(int64(len(journal.ids)))
	}
	return nil
}

// readTag reads the pages of a tag that the journal does not have.
func (t *Tags) readTag(ctx context.Context, tag pulse.Tag, journal *Journal, each func(pulse.TaggedPage)) error {
	known := journal.tags[tag.ID]
	if known.read {
		return nil
	}
	if !known.ended { // there is no page after the last one to ask for
		err := t.crm.Tagged(ctx, tag.ID, known.page+1, func(page pulse.TaggedPage) error {
			if err := journal.notePage(tag.ID, page); err != nil {
				return err
			}
			each(page)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if known = journal.tags[tag.ID]; known.changed {
		return errChanged
	}
	return nil
}

// resolve finds the tags in the CRM.
func (t *Tags) resolve(ctx context.Context) ([]pulse.Tag, error) {
	all, err := t.crm.AllTags(ctx)
	if err != nil {
		return nil, err
	}
	return Select(all, t.names)
}

// Select returns the tags of a CRM that are named, by name or id; all of them
// without names. The error is an [*UnknownTag].
func Select(all []pulse.Tag, names []string) ([]pulse.Tag, error) {
	if len(names) == 0 {
		return all, nil
	}
	var found []pulse.Tag
	for _, name := range names {
		matches := matching(all, name)
		if len(matches) == 0 {
			return nil, &UnknownTag{Name: name, Tags: len(all)}
		}
		found = append(found, matches...)
	}
	return found, nil
}

// matching returns the tags with a name, case aside; without one, the tag with
// that id.
func matching(all []pulse.Tag, name string) (matches []pulse.Tag) {
	for _, tag := range all {
		if pulse.SameName(tag.Name, name) {
			matches = append(matches, tag)
		}
	}
	if len(matches) > 0 {
		return matches
	}
	for _, tag := range all {
		if tag.ID == name {
			matches = append(matches, tag)
		}
	}
	return matches
}

// UnknownTag reports a tag that the CRM does not have.
type UnknownTag struct {
	Name string
	Tags int // how many it has
}

func (e *UnknownTag) Error() string {
	return fmt.Sprintf("the CRM has no tag %q among its %d: use a tag's name as the CRM shows it, or its id", e.Name, e.Tags)
}
