package sandbox

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// records are the CRM's contacts and tags.
type records struct {
	mu       sync.RWMutex
	contacts map[string]*record
	emails   map[string]string // lower case, to contact id
	tags     map[int]string    // id to name
	gone     map[int]bool      // tags that were deleted
	tagged   map[int][]string  // cached answers of withTag
}

type record struct {
	fields  map[string]any
	tags    []int
	updates []map[string]string
}

func newRecords() *records {
	return &records{
		contacts: map[string]*record{}, emails: map[string]string{},
		tags: map[int]string{}, gone: map[int]bool{}, tagged: map[int][]string{},
	}
}

// Put creates or changes a contact as a person in the CRM would: fields replace
// those of the same keys, tags replace all tags unless nil. The field "version"
// counts these changes, unless fields sets it.
func (c *CRM) Put(id string, fields map[string]any, tags []int) {
	c.records.put(id, fields, tags)
}

// Contact returns a copy of a contact's fields.
func (c *CRM) Contact(id string) (map[string]any, bool) {
	fields, _, ok := c.records.read(id)
	return fields, ok
}

// Tags returns a contact's tags in their order.
func (c *CRM) Tags(id string) []int {
	_, tags, _ := c.records.read(id)
	return tags
}

// Updates returns every change of a contact that came through the API, as it
// was sent, the newest last.
func (c *CRM) Updates(id string) []map[string]string {
	c.records.mu.RLock()
	defer c.records.mu.RUnlock()
	r, ok := c.records.contacts[id]
	if !ok {
		return nil
	}
	updates := make([]map[string]string, len(r.updates))
	for i, update := range r.updates {
		updates[i] = maps.Clone(update)
	}
	return updates
}

// Received returns how many contacts got a value for a field through the API, as
// returned passwords are.
func (c *CRM) Received(field string) int {
	c.records.mu.RLock()
	defer c.records.mu.RUnlock()
	n := 0
	for _, r := range c.records.contacts {
		if slices.ContainsFunc(r.updates, func(update map[string]string) bool { return update[field] != "" }) {
			n++
		}
	}
	return n
}

// Delete removes a contact and reports whether there was one.
func (c *CRM) Delete(id string) bool { return c.records.remove(id) }

// DeleteTag removes a tag from the CRM and from all contacts, without a webhook.
// Its list is not found from then on.
func (c *CRM) DeleteTag(tag int) { c.records.removeTag(tag) }

// IDs returns the ids of all contacts, in ascending order.
func (c *CRM) IDs() []string {
	c.records.mu.RLock()
	defer c.records.mu.RUnlock()
	return slices.SortedFunc(maps.Keys(c.records.contacts), compareIDs)
}

func (s *records) put(id string, fields map[string]any, tags []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.contacts[id]
	if !ok {
		r = &record{fields: map[string]any{}}
		s.contacts[id] = r
	}
	// It may have become a text through the API.
	version, _ := strconv.Atoi(fmt.Sprint(r.fields["version"]))
	s.set(id, r, fields)
	if _, given := fields["version"]; !given {
		r.fields["version"] = version + 1
	}
	if tags != nil {
		s.retag(r, tags)
	}
	clear(s.tagged)
}

// update changes fields through the API, and keeps what was sent.
func (s *records) update(id string, fields map[string]any, sent map[string]string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.contacts[id]
	if !ok {
		return false
	}
	s.set(id, r, fields)
	r.updates = append(r.updates, sent)
	return true
}

func (s *records) set(id string, r *record, fields map[string]any) {
	before := emailKey(r.fields)
	for key, value := range fields {
		if key != "id" {
			r.fields[key] = value
		}
	}
	if s.emails[before] == id {
		delete(s.emails, before)
	}
	if after := emailKey(r.fields); after != "" {
		s.emails[after] = id
	}
}

func (s *records) retag(r *record, tags []int) {
	r.tags = slices.Clone(tags)
	for _, tag := range tags {
		if _, known := s.tags[tag]; !known {
			s.tags[tag] = fmt.Sprintf("Tag %d", tag)
			delete(s.gone, tag)
		}
	}
}

// changeTags adds and removes tags through the API.
func (s *records) changeTags(id string, add, remove []int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.contacts[id]
	if !ok {
		return false
	}
	tags := slices.DeleteFunc(slices.Clone(r.tags), func(tag int) bool { return slices.Contains(remove, tag) })
	for _, tag := range add {
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	s.retag(r, tags)
	clear(s.tagged)
	return true
}

func (s *records) removeTag(tag int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.contacts {
		r.tags = slices.DeleteFunc(r.tags, func(carried int) bool { return carried == tag })
	}
	delete(s.tags, tag)
	s.gone[tag] = true
	clear(s.tagged)
}

func (s *records) isGone(tag int) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.gone[tag]
}

func (s *records) remove(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.contacts[id]
	if !ok {
		return false
	}
	if email := emailKey(r.fields); s.emails[email] == id {
		delete(s.emails, email)
	}
	delete(s.contacts, id)
	clear(s.tagged)
	return true
}

func (s *records) read(id string) (fields map[string]any, tags []int, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.contacts[id]
	if !ok {
		return nil, nil, false
	}
	return maps.Clone(r.fields), slices.Clone(r.tags), true
}

func (s *records) find(email string) (id string, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	id, ok = s.emails[strings.ToLower(email)]
	return id, ok
}

// withTag returns the contacts that carry a tag. The list is kept until tags
// change, since reading it page by page would else sort it for every page.
func (s *records) withTag(tag int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ids, ok := s.tagged[tag]; ok {
		return ids
	}
	ids := []string{}
	for id, r := range s.contacts {
		if slices.Contains(r.tags, tag) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compareIDs)
	s.tagged[tag] = ids
	return ids
}

func (s *records) tagNamed(name string) (int, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for id, known := range s.tags {
		if strings.EqualFold(known, name) {
			return id, true
		}
	}
	return 0, false
}

func (s *records) tagName(id int) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tags[id]
}

func (s *records) allTags() []int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.tags))
}

func (s *records) fieldNames() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := map[string]bool{}
	for _, r := range s.contacts {
		for name := range r.fields {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func emailKey(fields map[string]any) string {
	email, _ := fields["email"].(string)
	return strings.ToLower(email)
}

// compareIDs orders ids as numbers; other texts come after them.
func compareIDs(a, b string) int {
	n, errN := strconv.ParseInt(a, 10, 64)
	m, errM := strconv.ParseInt(b, 10, 64)
	switch {
	case errN == nil && errM == nil:
		return cmp.Compare(n, m)
	case errN == nil:
		return -1
	case errM == nil:
		return 1
	}
	return cmp.Compare(a, b)
}
