package sandbox

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const maxListed = 1000

// listed is a user in the answer of GET /wp-json/spillway/v1/contacts.
type listed struct {
	UserID    int64    `json:"user_id"`
	ContactID string   `json:"contact_id"`
	Tags      []string `json:"tags"`
	AsOf      int64    `json:"as_of"`
	StoredAt  int64    `json:"stored_at"`
}

// contacts is both methods of /wp-json/spillway/v1/contacts.
func (s *Site) contacts(r *http.Request, body []byte) answer {
	switch r.Method {
	case http.MethodPost:
		return s.storeContacts(r, body)
	case http.MethodGet:
		return s.listContacts(r)
	}
	return noRoute(r, body)
}

// listContacts is GET /wp-json/spillway/v1/contacts.
func (s *Site) listContacts(r *http.Request) answer {
	if a, refused := s.refuse(r); refused {
		return a
	}
	query := r.URL.Query()
	after, okAfter := parameter(query, "after", 0)
	limit, okLimit := parameter(query, "limit", maxListed)
	if !okAfter || !okLimit || limit < 1 || limit > maxListed {
		return restError(http.StatusBadRequest, "spillway_bad_request", `"after" is no user id, or "limit" is none of 1 to 1000.`)
	}
	if !query.Has("contact_ids") {
		users, next := s.users.page(after, int(limit))
		return reply(http.StatusOK, map[string]any{"users": users, "next": next})
	}
	ids := strings.Split(query.Get("contact_ids"), ",")
	if len(ids) > maxContacts || slices.Contains(ids, "") {
		return restError(http.StatusBadRequest, "spillway_bad_request", `"contact_ids" is no list of 1 to 100 contacts with commas between them.`)
	}
	return reply(http.StatusOK, map[string]any{"users": s.users.ofContacts(ids), "next": nil})
}

// parameter reads a parameter that may be missing.
func parameter(query url.Values, name string, missing int64) (int64, bool) {
	if !query.Has(name) {
		return missing, true
	}
	n, err := strconv.ParseInt(query.Get(name), 10, 64)
	return n, err == nil && n >= 0 && !strings.HasPrefix(query.Get(name), "+")
}

// page lists those of the next users who have a contact id. next is nil at the
// end.
func (s *users) page(after int64, limit int) (users []listed, next *int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	users = []listed{}
	looked := 0
	for id := after + 1; id <= s.last; id++ {
		u, ok := s.byID[id]
		if !ok {
			continue
		}
		if l, ok := u.listed(); ok {
			users = append(users, l)
		}
		if looked++; looked == limit {
			return users, &id
		}
	}
	return users, nil
}

// ofContacts lists the users of contacts in the order of their ids.
func (s *users) ofContacts(contacts []string) []listed {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[int64]bool{}
	for _, contact := range contacts {
		for _, id := range s.byContact[contact] {
			found[id] = true
		}
	}
	users := []listed{}
	for _, id := range slices.Sorted(maps.Keys(found)) {
		if l, ok := s.byID[id].listed(); ok {
			users = append(users, l)
		}
	}
	return users
}

// listed shows a user who has a contact id.
func (u *user) listed() (listed, bool) {
	id, _ := u.Meta[contactIDKey].(string)
	if id == "" {
		return listed{}, false
	}
	l := listed{UserID: u.ID, ContactID: id, Tags: []string{}}
	if tags, ok := u.Meta[tagsKey].([]string); ok {
		for _, tag := range tags {
			if !slices.Contains(l.Tags, tag) {
				l.Tags = append(l.Tags, tag)
			}
		}
	}
	if u.newest.contactID == id {
		l.AsOf, l.StoredAt = u.newest.asOf, u.newest.at.Unix()
	}
	return l, true
}
