package sitetest

import "github.com/stretchr/testify/require"

// How fields are stored.
var fieldRules = []rule{
	{"AbsentFieldsLeaveTheSitesAlone", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.update(object{"fields": object{"first_name": "Ann"}}))
		s.expect("unchanged", p.update(nil))
		s.expect("unchanged", p.update(object{"fields": object{}}))
		require.Equal(s, "Ann", s.text(s.stored(id), "first_name"))
	}},
	{"EmptyValuesAreSkipped", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.update(object{"fields": object{
			"first_name": "Ann", "interests": []string{"a", "b"}, "display_name": "Ann Lee",
		}}))
		s.expect("unchanged", p.update(object{"fields": object{
			"first_name": "", "interests": []string{}, "display_name": "", "user_email": "", "user_url": "",
		}}))
		user := s.stored(id)
		require.Equal(s, "Ann", s.text(user, "first_name"))
		require.Equal(s, []string{"a", "b"}, s.list(user, "interests"))
		require.Equal(s, "Ann Lee", user.DisplayName)
		require.Equal(s, p.email, user.Email)
	}},
	{"EmptyRawValuesAreStored", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.update(object{"fields": object{"billing_company": "Lee Ltd", "first_name": "Ann"}}))
		s.expect("updated", p.update(object{
			"fields": object{"billing_company": "", "first_name": ""}, "raw": []string{"billing_company"},
		}))
		user := s.stored(id)
		require.Empty(s, s.text(user, "billing_company"))
		require.Equal(s, "Ann", s.text(user, "first_name"))
	}},
	{"EmptyRawListsAreStored", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.update(object{"fields": object{"interests": []string{"a"}}}))
		s.expect("updated", p.update(object{"fields": object{"interests": []string{}}, "raw": []string{"interests"}}))
		require.Empty(s, s.stored(id).Meta["interests"])
	}},
	{"ZeroIsAValue", func(s *trial) {
		p, id := s.user("subscriber")
		contact := p.update(object{"fields": object{"newsletter": "0"}})
		s.expect("updated", contact)
		require.Equal(s, "0", s.text(s.stored(id), "newsletter"))
		s.expect("unchanged", contact)
	}},
	{"ListsAreStoredAsLists", func(s *trial) {
		p, id := s.user("subscriber")
		list := []string{"red", "O'Neil", "Zoë", "0"}
		contact := p.update(object{"fields": object{"colours": list}})
		s.expect("updated", contact)
		require.Equal(s, list, s.list(s.stored(id), "colours"))
		s.expect("unchanged", contact)
	}},
	{"UserRecordFieldsGoToTheUserRecord", func(s *trial) {
		p, id := s.user("subscriber")
		next := s.person().email
		contact := p.update(object{"fields": object{
			"user_email": next, "display_name": "Zoë O'Neil Söhne",
			"user_url": "https://example.com/ann", "user_nicename": "nice-" + p.id,
		}})
		s.expect("updated", contact)
		user := s.stored(id)
		require.Equal(s, next, user.Email)
		require.Equal(s, "Zoë O'Neil Söhne", user.DisplayName)
		require.Equal(s, "https://example.com/ann", user.URL)
		require.Equal(s, "nice-"+p.id, user.Nicename)
		for _, key := range []string{"user_email", "display_name", "user_url", "user_nicename"} {
			require.NotContains(s, user.Meta, key)
		}
		require.True(s, s.PasswordWorks(user.Login, oldPassword), "the password stays")
		s.expect("unchanged", contact)
	}},
}
