package pulse

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/unicode/norm"

	"spillway/internal/contact"
)

// namedLife is how long the id of a name is believed: a tag may be deleted in the
// CRM and made again under another id.
const namedLife = 10 * time.Minute

// NamedTag is a tag that a setting names by its id or by its name. It may be used
// by many goroutines.
type NamedTag struct {
	client *Client
	given  string

	mu    sync.Mutex
	id    string
	wrong error     // there is no such tag
	till  time.Time // for which id or wrong is believed
}

// NamedTag returns the tag that a setting names. Digits alone are an id, which
// is believed without a look; anything else is a name, in any case.
func (c *Client) NamedTag(given string) *NamedTag {
	return &NamedTag{client: c, given: strings.TrimSpace(given)}
}

// ID returns the tag's id. For a name all tags of the CRM are read, once in ten
// minutes, or in a minute while there is no such tag. The error is a [*NoSuchTag]
// if the CRM has none, or several, of that name.
func (t *NamedTag) ID(ctx context.Context) (string, error) {
	if _, err := contact.ParseID(t.given); err == nil {
		return t.given, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Now().Before(t.till) {
		return t.id, t.wrong
	}
	tags, err := t.client.AllTags(ctx)
	if err != nil {
		return "", err
	}
	life := namedLife
	if t.id, t.wrong = FindTag(tags, t.given); t.wrong != nil {
		life = shutOut
	}
	t.till = time.Now().Add(life)
	return t.id, t.wrong
}

// FindTag returns the id of the tag that has an id or a name. The error is a
// [*NoSuchTag].
func FindTag(tags []Tag, given string) (id string, err error) {
	var same, folded []string
	for _, tag := range tags {
		switch {
		case tag.ID == given:
			return tag.ID, nil
		case tag.Name == given:
			same = append(same, tag.ID)
		case SameName(tag.Name, given):
			folded = append(folded, tag.ID)
		}
	}
	if len(same) == 0 {
		same = folded
	}
	if len(same) != 1 {
		return "", &NoSuchTag{Given: given, Found: len(same)}
	}
	return same[0], nil
}

// SameName says that two names of a tag are the same: case, blanks around them,
// and whether an accent is a character of its own make no difference.
func SameName(a, b string) bool {
	return strings.EqualFold(norm.NFC.String(strings.TrimSpace(a)), norm.NFC.String(strings.TrimSpace(b)))
}

// NoSuchTag reports a setting that names no tag of the CRM, or several. It is a
// [contact.Outage]: nothing is wrong with the contact, and its pass can be carried
// out as soon as a person has made the tag or corrected the setting.
type NoSuchTag struct {
	Given string
	Found int // tags of that name
}

var _ contact.Outage = (*NoSuchTag)(nil)

func (e *NoSuchTag) Error() string {
	if e.Found > 1 {
		return fmt.Sprintf("the CRM has %d tags named %q, use the id of one of them", e.Found, e.Given)
	}
	return fmt.Sprintf("the CRM has no tag %q, make it there or correct the setting", e.Given)
}

// Outage returns how long to wait for the person.
func (e *NoSuchTag) Outage() time.Duration { return shutOut }
