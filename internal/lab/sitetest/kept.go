package sitetest

import (
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"
)

// A value that cannot be stored is left out, and nothing else of the contact.
var keptRules = []rule{
	{"ValueThatIsTooLongIsLeftOut", func(s *trial) {
		for field, value := range map[string]string{
			"user_url": "https://example.com/?" + strings.Repeat("x", 90), "display_name": strings.Repeat("x", 251),
			"user_nicename": strings.Repeat("x", 51),
		} {
			for _, action := range []string{"add", "update"} {
				p, id := s.user("subscriber")
				before := s.stored(id)
				contact := p.change(action).with(object{"fields": object{field: value, "first_name": "Ann"}, "tags": []string{"24"}, "role": "customer"})
				require.Equal(s, []string{"field_kept:" + field}, s.expect("updated", contact).Notes)
				user := s.stored(id)
				require.Equal(s, "Ann", s.text(user, "first_name"), field)
				require.Equal(s, []string{"24"}, s.tags(user), field)
				require.Equal(s, []string{"customer"}, user.Roles, field)
				require.Equal(s, []string{before.URL, before.DisplayName, before.Nicename}, []string{user.URL, user.DisplayName, user.Nicename})
				require.Equal(s, []string{"field_kept:" + field}, s.expect("unchanged", contact).Notes)
			}
			created := s.expect("created", s.person().add(object{"fields": object{field: value, "first_name": "Ann"}, "tags": []string{"24"}}))
			require.Equal(s, []string{"field_kept:" + field}, created.Notes)
			require.Equal(s, []string{"24"}, s.tags(s.stored(created.UserID)), field)
		}
	}},
	{"ValueOfWhichNothingIsLeftIsLeftOut", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.update(object{"fields": object{"first_name": "Ann", "note": "n"}}))
		updated := s.expect("updated", p.update(object{"fields": object{"first_name": "<script></script>", "note": "<script></script>", "last_name": "Lee"}}))
		require.ElementsMatch(s, []string{"field_kept:first_name", "field_kept:note"}, updated.Notes)
		require.Equal(s, "Ann", s.text(s.stored(id), "first_name"))
		require.Equal(s, "n", s.text(s.stored(id), "note"))
	}},
}

// How a changed address is stored.
var addressRules = []rule{
	{"AddressOfAnotherUserIsKept", func(s *trial) {
		p, id := s.user("subscriber")
		other, _ := s.user("subscriber")
		for i, action := range []string{"add", "update"} {
			name := "Ann" + strconv.Itoa(i)
			contact := p.change(action).with(object{
				"fields": object{"user_email": other.email, "first_name": name}, "tags": []string{strconv.Itoa(24 + i)},
			})
			require.Equal(s, []string{"email_kept"}, s.expect("updated", contact).Notes)
			require.Equal(s, []string{"email_kept"}, s.expect("unchanged", contact).Notes)
			user := s.stored(id)
			require.Equal(s, p.email, user.Email)
			require.Equal(s, name, s.text(user, "first_name"), "the rest is stored")
			require.Equal(s, []string{strconv.Itoa(24 + i)}, s.tags(user))
		}
		require.Len(s, s.UsersByEmail(other.email), 1)
	}},
	{"AddressThatIsNoneIsKept", func(s *trial) {
		p, id := s.user("subscriber")
		for _, address := range []string{"no address", "jürgen@example.com", strings.Repeat("x", 90) + "@example.com", "a@b"} {
			contact := p.update(object{"fields": object{"user_email": address, "first_name": "Ann", "display_name": "Ann of " + address}, "tags": []string{"24"}})
			require.Equal(s, []string{"email_kept"}, s.expect("updated", contact).Notes)
			user := s.stored(id)
			require.Equal(s, p.email, user.Email)
			require.Equal(s, "Ann", s.text(user, "first_name"))
			require.Equal(s, []string{"24"}, s.tags(user))
		}
	}},
	{"CaseOfAnAddressIsNoChange", func(s *trial) {
		p, id := s.user("subscriber")
		contact := p.update(object{"fields": object{"user_email": strings.ToUpper(p.email)}})
		require.Empty(s, s.expect("unchanged", contact).Notes)
		require.Equal(s, p.email, s.stored(id).Email)
		require.Empty(s, s.expect("created", s.person().add(object{"fields": object{"user_email": "Upper." + s.person().email}})).Notes)
	}},
	{"AddressInPunycodeIsStored", func(s *trial) {
		p, id := s.user("subscriber")
		next := "c" + p.id + "@xn--mller-kva.example.com"
		s.expect("updated", p.update(object{"fields": object{"user_email": next}}))
		require.Equal(s, next, s.stored(id).Email)
	}},
	{"ChangedAddressAndPasswordSendNoMail", func(s *trial) {
		p, id := s.user("subscriber")
		next := s.person().email
		before := len(s.Mails(p.email))
		s.expect("updated", p.update(object{"fields": object{"user_email": next}}))
		s.expect("updated", object{
			"contact_id": p.id, "action": "update", "user_pass": "new-Pass-word-1",
		})
		require.True(s, s.PasswordWorks(s.stored(id).Login, "new-Pass-word-1"))
		require.Len(s, s.Mails(p.email), before)
		require.Empty(s, s.Mails(next))
	}},
}
