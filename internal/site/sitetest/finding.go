package sitetest

import (
	"strings"

	"github.com/stretchr/testify/require"
)

// A user is found by contact id, else by email.
var findingRules = []rule{
	{"ContactIDGoesBeforeEmail", func(s *trial) {
		byID, id := s.user("subscriber")
		byEmail, otherID := s.user("subscriber")
		contact := byID.update(object{"email": byEmail.email, "fields": object{"first_name": "Ann"}})
		require.Equal(s, id, s.expect("updated", contact).UserID)
		require.Equal(s, "Ann", s.text(s.stored(id), "first_name"))
		require.Equal(s, byID.email, s.stored(id).Email, "email finds a user, it changes no address")
		require.Empty(s, s.text(s.stored(otherID), "first_name"))
		require.Len(s, s.UsersByContact(byEmail.id), 1)
	}},
	{"ContactIDIsComparedAsAWhole", func(s *trial) {
		p, _ := s.user("subscriber")
		s.expect("skipped", object{"contact_id": p.id + "0", "action": "update"})
		s.expect("skipped", object{"contact_id": p.id[:len(p.id)-1], "action": "update"})
	}},
	{"UserFoundByEmailGetsTheContactID", func(s *trial) {
		for _, action := range []string{"add", "update", "update_tags"} {
			p := s.person()
			id := s.CreateUser(NewUser{Login: "user" + p.id, Email: p.email, Password: oldPassword, Role: "subscriber"})
			require.Equal(s, id, s.expect("updated", p.change(action)).UserID, action)
			found := s.UsersByContact(p.id)
			require.Len(s, found, 1, action)
			require.Equal(s, id, found[0].ID, action)
		}
	}},
	{"MergedContactTakesTheUserOver", func(s *trial) {
		for _, action := range []string{"add", "update", "update_tags"} {
			old, id := s.user("subscriber")
			merged := person{id: s.person().id, email: old.email}
			require.Equal(s, id, s.expect("updated", merged.change(action)).UserID, action)
			require.Empty(s, s.UsersByContact(old.id), action)
			require.Len(s, s.UsersByContact(merged.id), 1, action)
		}
	}},
	{"EmailFindsInUpperAndLowerCase", func(s *trial) {
		p := s.person()
		created := s.expect("created", p.add(nil))
		second := person{id: s.person().id, email: strings.ToUpper(p.email)}
		require.Equal(s, created.UserID, s.expect("updated", second.add(nil)).UserID)
	}},
	{"TwoAddsForOneEmailMakeOneUser", func(s *trial) {
		first := s.person()
		second := person{id: s.person().id, email: first.email}
		created := s.expect("created", first.add(nil))
		require.Equal(s, created.UserID, s.expect("updated", second.add(nil)).UserID)
		require.Len(s, s.UsersByEmail(first.email), 1)
	}},
	{"TwoAddsForOneEmailInOneRequestMakeOneUser", func(s *trial) {
		first := s.person()
		second := person{id: s.person().id, email: first.email}
		results := s.sendAll(envelope(first.add(nil), second.add(nil)))
		require.Equal(s, "created", results[0].Outcome)
		require.Equal(s, "updated", results[1].Outcome)
		require.Len(s, s.UsersByEmail(first.email), 1)
	}},
	{"SixAddsForOneEmailAtOnceMakeOneUser", func(s *trial) {
		p := s.person()
		contacts := make([]object, 6)
		for i := range contacts {
			contacts[i] = person{id: s.person().id, email: p.email}.add(nil)
		}
		results := s.sendAtOnce(contacts)
		created := 0
		for _, result := range results {
			require.Contains(s, []string{"created", "updated"}, result.Outcome, "%+v", result.Error)
			require.Equal(s, results[0].UserID, result.UserID)
			if result.Outcome == "created" {
				created++
			}
		}
		require.Equal(s, 1, created)
		require.Len(s, s.UsersByEmail(p.email), 1)
	}},
	{"OneCreationSentSixTimesAtOnceMakesOneUserAndOneMail", func(s *trial) {
		p := s.person()
		contacts := make([]object, 6)
		for i := range contacts {
			contacts[i] = p.creation("r1", "first-Password-1").with(object{"notify": true})
		}
		results := s.sendAtOnce(contacts)
		for _, result := range results {
			require.Equal(s, "created", result.Outcome, "%+v", result.Error)
			require.Equal(s, results[0].UserID, result.UserID)
		}
		require.Len(s, s.UsersByEmail(p.email), 1)
		require.True(s, s.PasswordWorks(results[0].UserLogin, "first-Password-1"))
		require.Len(s, s.Mails(p.email), 1)
	}},
	{"SixUpdatesOfOneUserAtOnceAreAllStored", func(s *trial) {
		p, id := s.user("subscriber")
		contacts := make([]object, 6)
		for i := range contacts {
			contacts[i] = p.update(object{"fields": object{"key_" + string(rune('a'+i)): "x"}})
		}
		for _, result := range s.sendAtOnce(contacts) {
			require.Equal(s, "updated", result.Outcome, "%+v", result.Error)
		}
		user := s.stored(id)
		for i := range contacts {
			require.Equal(s, "x", s.text(user, "key_"+string(rune('a'+i))))
		}
	}},
}
