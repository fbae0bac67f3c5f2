package torture

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"sync"

	"spillway/internal/contact"
	"spillway/internal/lab/sandbox"
)

// person is a contact with what the CRM has of it and what Spillway has
// promised.
type person struct {
	id       int
	email    string
	notify   bool    // every add asks for the welcome mail, or none does
	poisoned bool    // the site dies whenever it is in a batch
	tenant   *tenant // nil: the first site

	mu           sync.Mutex
	fields, tags int // the newest versions in the CRM
	// The newest versions that an acknowledged webhook stands for.
	promisedFields, promisedTags int
	addTried, addPromised        bool
	touched                      bool // some webhook was acknowledged
}

func (p *person) ref() string { return strconv.Itoa(p.id) }

// people are all contacts of a run.
func people(n int, random *rand.Rand) []*person {
	all := make([]*person, n)
	for i := range all {
		all[i] = &person{id: i + 1, email: fmt.Sprintf("person%d@example.org", i+1), notify: random.IntN(2) == 0}
	}
	all[random.IntN(n)].poisoned = true
	return all
}

// promise is what one webhook stands for, if it is acknowledged.
type promise struct {
	action       contact.Action
	fields, tags int
}

// edit changes the contact in the CRM and returns what a webhook sent now
// stands for. An update_tags says nothing of fields, so it changes tags alone.
func (p *person) edit(crm *sandbox.CRM, action contact.Action) promise {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tags++
	fields := map[string]any{}
	if action != contact.UpdateTags {
		p.fields++
		for key, value := range fieldsAt(p.fields) {
			fields[key] = value
		}
	}
	if p.fields <= 1 {
		fields["email"] = p.email
	}
	crm.Put(p.ref(), fields, tagsAt(p.tags))
	if action == contact.Add {
		p.addTried = true
	}
	return promise{action, p.fields, p.tags}
}

// keep notes that the webhook was acknowledged.
func (p *person) keep(made promise) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.touched = true
	p.promisedTags = max(p.promisedTags, made.tags)
	if made.action != contact.UpdateTags {
		p.promisedFields = max(p.promisedFields, made.fields)
	}
	p.addPromised = p.addPromised || made.action == contact.Add
}

func fieldsAt(version int) map[string]string {
	n := strconv.Itoa(version)
	return map[string]string{"first_name": "first " + n, "last_name": "last " + n, "company": "company " + n}
}

const tagBase = 100_000

// tagsAt has one tag for the version and others that come and go.
func tagsAt(version int) []int {
	tags := []int{tagBase + version}
	for tag := 1; tag <= 40; tag++ {
		if (version*tag)%7 == 3 {
			tags = append(tags, tag)
		}
	}
	return tags
}

var (
	tagTexts     = regexp.MustCompile(`s:\d+:"(\d+)"`)
	versionTexts = regexp.MustCompile(`^(?:first|last|company) (\d+)$`)
)

// shown is which versions the site shows of a user; whole says that every field
// and every tag is of that version.
func shown(user sandbox.User) (fields, tags int, whole bool) {
	whole = true
	for i, key := range []string{"first_name", "last_name", "billing_company"} {
		text, _ := user.Meta[key].(string)
		version := 0
		if match := versionTexts.FindStringSubmatch(text); match != nil {
			version, _ = strconv.Atoi(match[1])
		}
		if i > 0 && version != fields {
			whole = false
		}
		fields = version
	}
	var have []int
	for _, match := range tagTexts.FindAllStringSubmatch(user.RawTags, -1) {
		tag, _ := strconv.Atoi(match[1])
		have = append(have, tag)
		tags = max(tags, tag-tagBase)
	}
	want := tagsAt(tags)
	slices.Sort(have)
	slices.Sort(want)
	return fields, tags, whole && slices.Equal(have, want)
}
