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
	{"UserOfAnotherContactIsNotTakenOver", func(s *trial) {
		for _, action := range []string{"update", "update_tags"} {
			owner, id := s.user("subscriber")
			s.expect("updated", owner.update(object{"fields": object{"first_name": "Ann"}, "tags": []string{"1", "2"}}))
			before := s.stored(id)
			stranger := person{id: s.person().id, email: owner.email}
			for _, replaces := range []string{"", s.person().id, stranger.id, owner.id + "0"} {
				skipped := s.expect("skipped", stranger.change(action).with(object{
					"fields": object{"first_name": "Stranger"}, "tags": []string{}, "role": "customer",
					"user_pass": "new-Pass-word-1", "replaces": replaces,
				}))
				require.Equal(s, []string{"other_contact"}, skipped.Notes, action)
				require.Equal(s, owner.id, skipped.OtherContact, action)
				require.Zero(s, skipped.UserID)
			}
			require.Equal(s, before, s.stored(id), action)
			require.True(s, s.PasswordWorks(before.Login, oldPassword), action)
			require.Empty(s, s.expect("updated", owner.change(action).with(object{"tags": []string{"3"}})).OtherContact)
		}
	}},
	{"AddTakesTheUserOfAnotherContactOver", func(s *trial) {
		old, id := s.user("subscriber")
		merged := person{id: s.person().id, email: old.email}
		relinked := s.expect("updated", merged.add(nil))
		require.Equal(s, id, relinked.UserID)
		require.Equal(s, []string{"relinked"}, relinked.Notes)
		require.Empty(s, s.UsersByContact(old.id))
		require.Len(s, s.UsersByContact(merged.id), 1)
		require.Empty(s, s.expect("unchanged", merged.add(nil)).Notes)
	}},
	{"ContactThatReplacesAnotherTakesItsUserOver", func(s *trial) {
		for _, action := range []string{"add", "update", "update_tags"} {
			old, id := s.user("subscriber")
			merged := person{id: s.person().id, email: old.email}
			relinked := s.expect("updated", merged.change(action).with(object{"replaces": old.id}))
			require.Equal(s, id, relinked.UserID, action)
			require.Equal(s, []string{"relinked"}, relinked.Notes, action)
			require.Empty(s, s.UsersByContact(old.id), action)
			require.Len(s, s.UsersByContact(merged.id), 1, action)
		}
	}},
	{"StaffOfAnotherContactIsTakenOverByNobody", func(s *trial) {
		owner, id := s.user("administrator")
		stranger := person{id: s.person().id, email: owner.email}
		for _, action := range []string{"add", "update", "update_tags"} {
			skipped := s.expect("skipped", stranger.change(action).with(object{"tags": []string{"9"}}))
			require.Equal(s, owner.id, skipped.OtherContact, action)
		}
		require.Empty(s, s.tags(s.stored(id)))
		require.Equal(s, id, s.expect("updated", stranger.add(object{"replaces": owner.id})).UserID)
	}},
	{"ReplacedContactIsNamedByAText", func(s *trial) {
		s.refused("invalid_contact", s.person().update(object{"replaces": []string{"1"}}))
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
