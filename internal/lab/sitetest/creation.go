package sitetest

import (
	"regexp"
	"strings"

	"github.com/stretchr/testify/require"
)

// Which users an add creates, and under which login.
var creationRules = []rule{
	{"AddWithoutAddressIsRefused", func(s *trial) {
		for _, members := range []object{{}, {"email": ""}} {
			p := s.person()
			s.refused("no_email", object{"contact_id": p.id, "action": "add"}.with(members))
			require.Empty(s, s.UsersByContact(p.id))
		}
	}},
	{"AddWithAnInvalidAddressIsRefused", func(s *trial) {
		for _, email := range []string{"nobody", "a b@example.com", "a@@example.com", "@example.com"} {
			p := s.person()
			s.refused("invalid_email", p.add(object{"email": email}))
			require.Empty(s, s.UsersByContact(p.id), email)
		}
	}},
	{"AddressIsTheLogin", func(s *trial) {
		p := s.person()
		created := s.expect("created", p.add(nil))
		require.Equal(s, p.email, created.UserLogin)
		require.Equal(s, p.email, s.stored(created.UserID).Login)
	}},
	{"AnswerNamesTheLoginThatIsStored", func(s *trial) {
		p := s.person()
		p.email = "ann+news." + p.email
		created := s.expect("created", p.add(object{"user_pass": "given-Pass-word-1"}))
		require.Equal(s, s.stored(created.UserID).Login, created.UserLogin)
		require.Equal(s, p.email, s.stored(created.UserID).Email)
		require.True(s, s.PasswordWorks(created.UserLogin, "given-Pass-word-1"))
	}},
	{"LongAddressIsCut", func(s *trial) {
		p := s.person()
		p.email = "c" + p.id + strings.Repeat("x", 45) + "@example.com"
		first := s.expect("created", p.add(nil))
		require.Equal(s, p.email[:60], first.UserLogin)
		require.Equal(s, p.email, s.stored(first.UserID).Email)

		second := s.person()
		second.email = p.email[:61] + "y@example.com"
		require.Regexp(s, `^.{1,59}\d$`, s.expect("created", second.add(nil)).UserLogin, "a taken login gets digits, within 60 characters")
	}},
	{"TakenAddressLoginGetsDigits", func(s *trial) {
		p, other := s.person(), s.person()
		s.CreateUser(NewUser{Login: p.email, Email: other.email, Password: oldPassword, Role: "subscriber"})
		created := s.expect("created", p.add(nil))
		require.Regexp(s, "^"+regexp.QuoteMeta(p.email)+`\d+$`, created.UserLogin)
		require.Equal(s, created.UserLogin, s.stored(created.UserID).Login)
	}},
	{"GivenLoginIsUsed", func(s *trial) {
		p := s.person()
		created := s.expect("created", p.add(object{"user_login": "ann.lee " + p.id}))
		require.Equal(s, "ann.lee "+p.id, created.UserLogin)
		require.Equal(s, "ann.lee "+p.id, s.stored(created.UserID).Login)
	}},
	{"GivenLoginThatIsTakenIsRefused", func(s *trial) {
		existing, id := s.user("subscriber")
		p := s.person()
		s.refused("user_login_taken", p.add(object{"user_login": s.stored(id).Login}))
		require.Empty(s, s.UsersByEmail(p.email))
		require.Len(s, s.UsersByContact(existing.id), 1)
	}},
	{"GivenLoginIsCleaned", func(s *trial) {
		p := s.person()
		for given, want := range map[string]string{
			"ann+club" + p.id: "annclub" + p.id, "o'brien" + p.id: "obrien" + p.id, "Иван" + p.id: p.id,
			" <b>ann</b>  lee " + p.id: "ann lee " + p.id, "a" + p.id + strings.Repeat("a", 60): ("a" + p.id + strings.Repeat("a", 60))[:60],
		} {
			created := s.expect("created", s.person().add(object{"user_login": given}))
			require.Equal(s, want, created.UserLogin, given)
			require.Equal(s, want, s.stored(created.UserID).Login, given)
			require.Equal(s, []string{"login_changed"}, created.Notes, given)
		}
	}},
	{"AddressIsTheLoginWhenNothingIsLeftOfAGivenOne", func(s *trial) {
		for _, login := range []string{"<b></b>", "Иван", "+++", "&amp;"} {
			p := s.person()
			created := s.expect("created", p.add(object{"user_login": login}))
			require.Equal(s, p.email, created.UserLogin, login)
			require.Equal(s, []string{"login_changed"}, created.Notes, login)
		}
	}},
	{"LoginsAreMadeOfNamesWhenAsked", func(s *trial) {
		named := func(format string, members object) result {
			s.Helper()
			request := envelope(s.person().add(members)).with(object{"login_format": format})
			created := s.sendAll(request)[0]
			require.Equal(s, "created", created.Outcome, "%+v", created.Error)
			require.Equal(s, created.UserLogin, s.stored(created.UserID).Login)
			require.Empty(s, created.Notes)
			return created
		}
		family := "Lee" + s.person().id
		names := object{"fields": object{"first_name": "Ann", "last_name": family}}
		require.Equal(s, "Ann"+family, named("flname", names).UserLogin)
		require.Regexp(s, "^Ann"+family+`\d+$`, named("flname", names).UserLogin, "a taken one gets digits")
		require.Equal(s, family, named("flname", object{"fields": object{"last_name": family}}).UserLogin)
		require.Regexp(s, `^Ann\d{1,13}$`, named("fnamenum", names).UserLogin)
		require.Equal(s, "own"+family, named("fnamenum", names.with(object{"user_login": "own" + family})).UserLogin)
		for _, format := range []string{"email", "flname", "fnamenum"} {
			p := s.person()
			created := s.sendAll(envelope(p.add(nil)).with(object{"login_format": format}))[0]
			require.Equal(s, p.email, created.UserLogin, "without names the address is the login")
		}
		status, body := s.post(s.strong(), envelope(s.person().add(nil)).with(object{"login_format": "initials"}))
		s.requireBadRequest("an unknown format", status, body)
	}},
	{"LoginOfAnExistingUserStays", func(s *trial) {
		p, id := s.user("subscriber")
		login := s.stored(id).Login
		s.expect("unchanged", p.add(object{"user_login": "other" + p.id}))
		require.Equal(s, login, s.stored(id).Login)
	}},
}

// nags says whether WordPress asks the user to change a generated password.
func (s *trial) nags(id int64) bool {
	s.Helper()
	return s.text(s.stored(id), "default_password_nag") != ""
}

// Which password a user gets.
var passwordRules = []rule{
	{"GivenPasswordIsUsed", func(s *trial) {
		for _, password := range []string{"given-Pass-word-1", `pa\ss "w'rd & <b> Zoë`} {
			p := s.person()
			created := s.expect("created", p.add(object{"user_pass": password}))
			require.True(s, s.PasswordWorks(created.UserLogin, password), password)
			require.False(s, s.nags(created.UserID))
		}
	}},
	{"GeneratedPasswordIsUsedAndNags", func(s *trial) {
		p := s.person()
		created := s.expect("created", p.creation("r1", "generated1234"))
		require.True(s, s.PasswordWorks(created.UserLogin, "generated1234"))
		require.True(s, s.nags(created.UserID))
	}},
	{"WithoutAPasswordTheSiteMakesOneThatNags", func(s *trial) {
		p := s.person()
		created := s.expect("created", p.add(nil))
		require.True(s, s.nags(created.UserID))
		require.False(s, s.PasswordWorks(created.UserLogin, ""))
	}},
	{"PasswordOfAnExistingUserIsSetWhenItDiffers", func(s *trial) {
		for _, action := range []string{"add", "update"} {
			p, id := s.user("subscriber")
			login := s.stored(id).Login
			s.expect("unchanged", p.change(action).with(object{"user_pass": oldPassword}))
			s.expect("unchanged", p.change(action).with(object{"user_pass": ""}))
			require.True(s, s.PasswordWorks(login, oldPassword), action)

			contact := p.change(action).with(object{"user_pass": `new\Pass 'word'`})
			s.expect("updated", contact)
			require.True(s, s.PasswordWorks(login, `new\Pass 'word'`), action)
			s.expect("unchanged", contact)
		}
	}},
	{"GeneratedPasswordIsNotForAnExistingUser", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("unchanged", p.creation("r1", "generated1234"))
		s.expect("unchanged", p.creation("r1", "generated1234").with(object{"action": "update"}))
		require.True(s, s.PasswordWorks(s.stored(id).Login, oldPassword))
		require.False(s, s.nags(id))
	}},
}
