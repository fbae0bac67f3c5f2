package sitetest

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

const observationsPath = "/wp-json/spillway/v1/observations"

// observation is the site's answer for a contact that it only looks at.
type observation struct {
	result

	// Nil: the answer has no such member.
	Keys        []string `json:"keys"`
	TagsAdded   []string `json:"tags_added"`
	TagsRemoved []string `json:"tags_removed"`
	RoleGiven   *string  `json:"role_given"`
}

// observeAll asks what a request would do.
func (s *trial) observeAll(request object) []observation {
	s.Helper()
	status, body := s.call(s.strong(), http.MethodPost, observationsPath, s.encode(request))
	s.results(request, status, body)
	var answer struct {
		Results []observation `json:"results"`
	}
	require.NoError(s, json.Unmarshal(body, &answer), "%s", body)
	return answer.Results
}

// observe asks what storing a contact would do.
func (s *trial) observe(contact object) observation {
	s.Helper()
	seen := s.observeAll(envelope(contact))[0]
	if seen.Outcome != "failed" {
		require.NotNil(s, seen.Keys, "empty, not absent")
		require.NotNil(s, seen.TagsAdded)
		require.NotNil(s, seen.TagsRemoved)
		require.NotNil(s, seen.RoleGiven)
		require.Nil(s, seen.AppliedTags)
		require.Nil(s, seen.RemovedTags)
	}
	return seen
}

// values are a user's, by the keys under which fields write them.
func values(u User) map[string]any {
	all := maps.Clone(u.Meta)
	all["user_email"], all["display_name"], all["user_url"], all["user_nicename"] = u.Email, u.DisplayName, u.URL, u.Nicename
	return all
}

// reasons are notes of an observation alone.
func isReason(note string) bool {
	code, _, _ := strings.Cut(note, ":")
	return slices.Contains([]string{"unticked", "list", "cleaned"}, code)
}

// comesTrue observes a contact of a user, 0 for none, requires that nothing has
// changed, stores the contact, and requires that the observation was right.
func (s *trial) comesTrue(userID int64, contact object) observation {
	s.Helper()
	var before User
	if userID > 0 {
		before = s.stored(userID)
	}
	seen := s.observe(contact)
	if userID > 0 {
		require.Equal(s, before, s.stored(userID), "observing changes nothing")
	} else if email, _ := contact["email"].(string); email != "" && seen.OtherContact == "" {
		require.Empty(s, s.UsersByEmail(email), "observing creates nobody")
	}
	stored := s.send(contact)
	require.Equal(s, stored.Outcome, seen.Outcome, "%+v, %+v", seen, stored)
	require.Equal(s, stored.Error, seen.Error)
	if stored.Outcome == "failed" {
		return seen
	}
	require.ElementsMatch(s, stored.Notes, slices.DeleteFunc(slices.Clone(seen.Notes), isReason))
	require.Equal(s, stored.OtherContact, seen.OtherContact)
	require.Equal(s, stored.Role, seen.Role)
	require.Equal(s, stored.UserLogin, seen.UserLogin)
	if stored.UserID == 0 {
		require.Zero(s, seen.UserID)
		return seen
	}
	after := s.stored(stored.UserID)
	if stored.Outcome == "created" && userID == 0 {
		require.Zero(s, seen.UserID)
		require.ElementsMatch(s, s.tags(after), seen.TagsAdded)
		require.Equal(s, after.Roles[0], *seen.RoleGiven)
		return seen
	}
	require.Equal(s, stored.UserID, seen.UserID)
	var changed []string
	for _, key := range slices.Collect(maps.Keys(values(after))) {
		if !s.isOwn(key) && !reflect.DeepEqual(values(before)[key], values(after)[key]) {
			changed = append(changed, key)
		}
	}
	require.ElementsMatch(s, changed, slices.DeleteFunc(slices.Clone(seen.Keys), func(key string) bool { return key == "user_pass" }))
	require.ElementsMatch(s, missing(s.tags(after), s.tags(before)), seen.TagsAdded)
	require.ElementsMatch(s, missing(s.tags(before), s.tags(after)), seen.TagsRemoved)
	given := ""
	if !slices.Equal(before.Roles, after.Roles) {
		given = after.Roles[0]
	}
	require.Equal(s, given, *seen.RoleGiven)
	return seen
}

// isOwn says that a key is none that fields write.
func (s *trial) isOwn(key string) bool {
	return strings.HasPrefix(key, "spillway_") || strings.HasSuffix(key, "capabilities") || strings.HasSuffix(key, "user_level") ||
		key == *s.about.ContactIDKey || key == *s.about.TagsKey
}

// missing are the elements of a that b lacks.
func missing(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(element string) bool { return slices.Contains(b, element) })
}

// What the site answers that is asked what it would do.
var observationRules = []rule{
	{"ACreationIsForetold", func(s *trial) {
		p := s.person()
		seen := s.comesTrue(0, p.add(object{
			"fields": object{"first_name": "Ann", "display_name": "Ann Lee", "company": "Lee", "user_url": strings.Repeat("x", 101)},
			"tags":   []string{"24", "74"}, "role": "customer", "user_login": "l" + p.id, "created_tag": "55",
		}))
		require.Equal(s, "created", seen.Outcome)
		require.ElementsMatch(s, []string{"company", "display_name", "first_name"}, seen.Keys)
		require.ElementsMatch(s, []string{"24", "74", "55"}, seen.TagsAdded)
		require.Equal(s, []string{"field_kept:user_url"}, seen.Notes)
	}},
	{"ARoleThatIsRefusedIsForetold", func(s *trial) {
		for _, role := range []string{"administrator", "no-such-role"} {
			require.Len(s, s.comesTrue(0, s.person().add(object{"role": role})).Notes, 1)
			p, id := s.user("subscriber")
			seen := s.comesTrue(id, p.update(object{"role": role}))
			require.Equal(s, "unchanged", seen.Outcome)
			require.Empty(s, *seen.RoleGiven)
		}
		p, id := s.user("subscriber")
		require.Equal(s, "customer", *s.comesTrue(id, p.update(object{"role": "Customer"})).RoleGiven)
	}},
	{"ChangedKeysAndTagsAreForetold", func(s *trial) {
		for _, action := range []string{"add", "update"} {
			p, id := s.user("subscriber")
			other, _ := s.user("subscriber")
			s.send(p.update(object{"fields": object{"company": "Lee", "city": "Ulm", "list": []string{"a", "b"}}, "tags": []string{"1", "2"}}))
			contact := p.change(action).with(object{
				"fields": object{
					"company": "Lee", "city": "Bonn", "list": []string{"a", "c"}, "fresh": "x", "user_email": "new" + p.email,
					"display_name": "Bo", "skipped": "", "wp_capabilities": "x",
				},
				"tags": []string{"2", "3"},
			})
			seen := s.comesTrue(id, contact)
			require.ElementsMatch(s, []string{"city", "list", "fresh", "user_email", "display_name"}, seen.Keys)
			require.Equal(s, []string{"3"}, seen.TagsAdded)
			require.Equal(s, []string{"1"}, seen.TagsRemoved)
			require.Equal(s, []string{"field_refused:wp_capabilities"}, seen.Notes)
			again := s.comesTrue(id, contact)
			require.Equal(s, "unchanged", again.Outcome)
			require.Empty(s, again.Keys)
			taken := s.comesTrue(id, p.update(object{"fields": object{"user_email": other.email, "city": ""}, "raw": []string{"city"}, "tags": []string{}}))
			require.Equal(s, []string{"city"}, taken.Keys)
			require.Equal(s, []string{"email_kept"}, taken.Notes)
		}
	}},
	{"UpdateTagsForetellsTagsAlone", func(s *trial) {
		p, id := s.user("subscriber")
		seen := s.comesTrue(id, p.change("update_tags").with(object{"fields": object{"first_name": "Ann"}, "tags": []string{"24"}, "role": "customer"}))
		require.Empty(s, seen.Keys)
		require.Equal(s, []string{"24"}, seen.TagsAdded)
	}},
	{"WhatStaffKeepsIsForetold", func(s *trial) {
		p, id := s.user("editor")
		seen := s.comesTrue(id, p.update(object{"fields": object{"user_email": "new" + p.email, "_hidden": "x", "city": "Ulm"}, "role": "customer"}))
		require.Equal(s, []string{"city"}, seen.Keys)
		require.ElementsMatch(s, []string{"email_kept", "field_refused:_hidden", "role_kept"}, seen.Notes)
	}},
	{"WhoseAccountIsForetold", func(s *trial) {
		p, id := s.user("subscriber")
		other := s.person()
		seen := s.comesTrue(id, other.update(object{"email": p.email, "fields": object{"city": "Ulm"}}))
		require.Equal(s, "skipped", seen.Outcome)
		require.Equal(s, p.id, seen.OtherContact)
		require.Equal(s, []string{"relinked"}, s.comesTrue(id, other.update(object{"email": p.email, "replaces": p.id})).Notes)
		third := s.person()
		require.Equal(s, []string{"relinked"}, s.comesTrue(id, third.add(object{"email": p.email})).Notes)
		require.Equal(s, "skipped", s.comesTrue(0, s.person().update(nil)).Outcome)
	}},
	{"AFailureIsForetold", func(s *trial) {
		taken, _ := s.user("subscriber")
		for code, contact := range map[string]object{
			"no_email": s.person().add(object{"email": ""}), "invalid_email": s.person().add(object{"email": "x"}),
			"user_login_taken": s.person().add(object{"user_login": "user" + taken.id}),
			"invalid_contact":  s.person().add(object{"tags": "24"}), "unknown_action": s.person().change("delete"),
		} {
			seen := s.comesTrue(0, contact)
			s.requireRefused(code, contact, seen.result)
		}
	}},
	{"APasswordIsForetold", func(s *trial) {
		p, id := s.user("subscriber")
		require.Equal(s, []string{"user_pass"}, s.comesTrue(id, p.update(object{"user_pass": "new-Pass-word-1"})).Keys)
		require.Equal(s, "unchanged", s.comesTrue(id, p.update(object{"user_pass": "new-Pass-word-1"})).Outcome)
	}},
	{"ReasonsOfDifferencesAreNamed", func(s *trial) {
		p, id := s.user("subscriber")
		s.send(p.update(object{"fields": object{"box": "1", "kinds": "a, b", "note": "one two", "other": "x"}}))
		seen := s.comesTrue(id, p.update(object{"fields": object{"box": false, "kinds": []string{"a", "b"}, "other": "y"}}))
		require.ElementsMatch(s, []string{"unticked:box", "list:kinds"}, seen.Notes)
		if *s.about.WPFusion == "" { // it would clean the value again
			require.Equal(s, []string{"cleaned:note"}, s.comesTrue(id, p.update(object{"fields": object{"note": "one\n two"}})).Notes)
		}
	}},
	{"EachContactIsLookedAtByItself", func(s *trial) {
		p := s.person()
		for _, seen := range s.observeAll(envelope(p.add(nil), p.add(nil))) {
			require.Equal(s, "created", seen.Outcome)
		}
	}},
	{"AConfirmationIsNoQuestion", func(s *trial) {
		p := s.person()
		created := s.expect("created", p.creation("r1", "Gener8ted-pass"))
		before := s.stored(created.UserID)
		contact := p.confirm("r1")
		s.requireRefused("unknown_action", contact, s.observe(contact).result)
		require.Equal(s, before, s.stored(created.UserID))
	}},
	{"AnUnconfirmedCreationIsForetold", func(s *trial) {
		p := s.person()
		created := s.expect("created", p.creation("r1", "Gener8ted-pass"))
		require.Equal(s, "created", s.comesTrue(created.UserID, p.creation("r1", "Gener8ted-pass")).Outcome)
	}},
	{"WhoMayNotStoreMayNotAsk", func(s *trial) {
		p, _ := s.user("subscriber")
		for _, as := range []*account{nil, {s.strong().user, "wrong wrong wrong"}, s.weak()} {
			status, body := s.call(as, http.MethodPost, observationsPath, s.encode(envelope(p.update(nil))))
			require.Contains(s, []int{http.StatusUnauthorized, http.StatusForbidden}, status)
			require.Contains(s, string(body), `"spillway_`)
		}
		for _, body := range []string{`{"contacts":1}`, `{`, `[]`, `{"contacts":[{"action":"add"}]}`} {
			status, answer := s.call(s.strong(), http.MethodPost, observationsPath, []byte(body))
			s.requireBadRequest(body, status, answer)
		}
	}},
}
