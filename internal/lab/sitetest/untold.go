package sitetest

import "github.com/stretchr/testify/require"

// told is the confirmation that the CRM knows of tags.
func (p person) told(applied ...string) object {
	return object{"contact_id": p.id, "action": "confirm", "applied_tags": applied}
}

// tagged replaces a contact's tags.
func (p person) tagged(tags ...string) object {
	return p.change("update_tags").with(object{"tags": append([]string{}, tags...)})
}

// requireUntold checks which tags an answer wants the CRM to be told of.
func (s *trial) requireUntold(got result, applied ...string) {
	s.Helper()
	if len(applied) == 0 {
		require.Nil(s, got.AppliedTags, "absent when empty")
	} else {
		require.Equal(s, applied, got.AppliedTags)
	}
	require.Nil(s, got.RemovedTags)
}

// Tags that the site has given by itself and that the CRM has not been told of.
// What hooks give and take needs WP Fusion; the tag of a created user does not.
var untoldRules = []rule{
	{"CreatedUserGetsTheTagBesideTheContacts", func(s *trial) {
		created := s.expect("created", s.person().add(object{"tags": []string{"24"}, "created_tag": "55"}))
		require.Equal(s, []string{"24", "55"}, s.tags(s.stored(created.UserID)))
		s.requireUntold(created, "55")

		alone := s.expect("created", s.person().add(object{"created_tag": "55"}))
		require.Equal(s, []string{"55"}, s.tags(s.stored(alone.UserID)))
		s.requireUntold(alone, "55")
		s.requireUntold(s.expect("created", s.person().add(object{"tags": []string{"24"}})))
	}},
	{"CreatedTagIsForCreatedUsersAlone", func(s *trial) {
		p, id := s.user("subscriber")
		s.requireUntold(s.expect("updated", p.add(object{"tags": []string{"24"}, "created_tag": "55"})))
		s.requireUntold(s.expect("unchanged", p.add(object{"created_tag": "55"})))
		require.Equal(s, []string{"24"}, s.tags(s.stored(id)))
	}},
	{"CreatedTagStaysAndIsAnsweredUntilItIsConfirmed", func(s *trial) {
		p := s.person()
		created := s.expect("created", p.add(object{"tags": []string{"24"}, "created_tag": "55"}))
		for _, action := range []string{"add", "update", "update_tags"} {
			// Read from the CRM before it was told.
			again := s.expect("unchanged", p.change(action).with(object{"tags": []string{"24"}}))
			s.requireUntold(again, "55")
			require.Equal(s, []string{"24", "55"}, s.tags(s.stored(created.UserID)), action)
			s.requireUntold(s.expect("unchanged", p.change(action)), "55")
		}
		s.expect("unchanged", p.told("24"))
		s.expect("updated", p.told("24", "55"))
		s.expect("unchanged", p.told("55"))
		s.requireUntold(s.expect("updated", p.tagged("24")))
		require.Equal(s, []string{"24"}, s.tags(s.stored(created.UserID)), "the CRM knows, so its word counts")
	}},
	{"TagThatTheContactShowsIsNotAnswered", func(s *trial) {
		p := s.person()
		s.requireUntold(s.expect("created", p.add(object{"tags": []string{"55"}, "created_tag": "55"})))

		q := s.person()
		created := s.expect("created", q.add(object{"created_tag": "55"}))
		s.requireUntold(s.expect("unchanged", q.tagged("55")))
		s.requireUntold(s.expect("updated", q.tagged()))
		require.Empty(s, s.tags(s.stored(created.UserID)))
	}},
	{"CreatedTagComesAfterThePassword", func(s *trial) {
		p := s.person()
		creation := p.creation("r1", firstPassword).with(object{"tags": []string{"24"}, "created_tag": "55"})
		s.requireUntold(s.expect("created", creation), "55")
		s.requireUntold(s.expect("unchanged", p.tagged("24")))
		s.requireUntold(s.expect("unchanged", p.update(object{"tags": []string{"24"}})))
		s.requireUntold(s.expect("created", creation), "55")
		s.expect("updated", p.confirm("r1"))
		s.requireUntold(s.expect("unchanged", p.tagged("24")), "55")
		s.expect("updated", p.told("55"))
		s.requireUntold(s.expect("unchanged", creation.with(object{"tags": []string{"24", "55"}})))
	}},
	{"OneConfirmationIsForPasswordAndTags", func(s *trial) {
		p := s.person()
		creation := p.creation("r1", firstPassword).with(object{"tags": []string{}, "created_tag": "55"})
		s.expect("created", creation)
		s.requireUntold(s.expect("updated", p.told("55").with(object{"request_id": "r1"})))
		s.requireUntold(s.expect("unchanged", p.tagged("55")))
		s.requireConfirmed(p, "r1")
		s.expect("skipped", s.person().told("55"))
	}},
	{"ListsOfTagsAreLists", func(s *trial) {
		p, _ := s.user("subscriber")
		for member, value := range map[string]any{"applied_tags": "55", "removed_tags": 5, "created_tag": []string{"55"}} {
			s.refused("invalid_contact", p.told().with(object{member: value}))
		}
		s.expect("unchanged", p.told().with(object{"applied_tags": nil, "removed_tags": []any{7, ""}, "created_tag": nil}))
	}},
}
