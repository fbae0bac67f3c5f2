package sitetest

import "github.com/stretchr/testify/require"

// What each action does with a known and an unknown contact.
var actionRules = []rule{
	{"AddCreatesTheUserThereIsNone", func(s *trial) {
		p := s.person()
		created := s.expect("created", p.add(object{
			"fields": object{"first_name": "Ann", "display_name": "Ann Lee"}, "tags": []string{"24", "74"}, "role": "customer",
		}))
		user := s.stored(created.UserID)
		require.Equal(s, user.Login, created.UserLogin)
		require.Equal(s, "customer", created.Role)
		require.Empty(s, created.Notes)
		require.Equal(s, p.email, user.Email)
		require.Equal(s, "Ann Lee", user.DisplayName)
		require.Equal(s, "Ann", s.text(user, "first_name"))
		require.Equal(s, []string{"24", "74"}, s.tags(user))
		require.Equal(s, []string{"customer"}, user.Roles)
		require.Len(s, s.UsersByContact(p.id), 1)
	}},
	{"AddAndUpdateStoreFieldsTagsAndRole", func(s *trial) {
		for _, action := range []string{"add", "update"} {
			p, id := s.user("subscriber")
			contact := p.change(action).with(object{
				"fields": object{"first_name": "Ann"}, "tags": []string{"24"}, "role": "customer",
			})
			updated := s.expect("updated", contact)
			require.Equal(s, "customer", updated.Role, action)
			require.Equal(s, id, updated.UserID, action)
			user := s.stored(id)
			require.Equal(s, "Ann", s.text(user, "first_name"), action)
			require.Equal(s, []string{"24"}, s.tags(user), action)
			require.Equal(s, []string{"customer"}, user.Roles, action)
			s.expect("unchanged", contact)
		}
	}},
	{"UpdateTagsStoresTagsAlone", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.change("update_tags").with(object{
			"fields": object{"first_name": "Ann"}, "tags": []string{"24"}, "role": "customer", "user_pass": "new-Pass-word-1",
		}))
		user := s.stored(id)
		require.Equal(s, []string{"24"}, s.tags(user))
		require.Empty(s, s.text(user, "first_name"))
		require.Equal(s, []string{"subscriber"}, user.Roles)
	}},
	{"UpdateUpdateTagsAndConfirmCreateNobody", func(s *trial) {
		for _, action := range []string{"update", "update_tags", "confirm"} {
			p := s.person()
			skipped := s.expect("skipped", p.change(action).with(object{
				"fields": object{"first_name": "Ann"}, "tags": []string{"24"}, "request_id": "r1",
			}))
			require.Zero(s, skipped.UserID, action)
			require.Empty(s, s.UsersByEmail(p.email), action)
			require.Empty(s, s.UsersByContact(p.id), action)
		}
	}},
	{"WhatStandsSoIsUnchanged", func(s *trial) {
		p, _ := s.user("subscriber")
		s.expect("unchanged", p.change("update"))
		s.expect("unchanged", p.change("update_tags"))
		s.expect("unchanged", p.change("add").with(object{
			"fields": object{"user_email": p.email}, "role": "subscriber", "user_pass": oldPassword,
		}))
	}},
}
