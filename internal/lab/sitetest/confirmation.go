package sitetest

import "github.com/stretchr/testify/require"

const (
	firstPassword  = "firstPassword16"
	secondPassword = "secondPassword16"
	usersPassword  = "chosen-by-the-user-1"
)

// created makes a user whose generated password is still to be confirmed.
func (s *trial) created() (person, result) {
	s.Helper()
	p := s.person()
	return p, s.expect("created", p.creation("r1", firstPassword))
}

// requireConfirmed checks that no mark stands any more.
func (s *trial) requireConfirmed(p person, requestIDs ...string) {
	s.Helper()
	for _, id := range requestIDs {
		s.expect("unchanged", p.confirm(id))
	}
}

// What happens between a creation and its confirmation.
var confirmationRules = []rule{
	{"RepeatedCreationIsAnsweredAsTheCreation", func(s *trial) {
		p, first := s.created()
		again := s.expect("created", p.creation("r1", firstPassword).with(object{
			"fields": object{"first_name": "Ann"}, "tags": []string{"24"}, "role": "customer",
		}))
		require.Equal(s, first.UserID, again.UserID)
		require.Equal(s, first.UserLogin, again.UserLogin)
		require.Equal(s, "customer", again.Role)
		user := s.stored(first.UserID)
		require.Equal(s, "Ann", s.text(user, "first_name"))
		require.Equal(s, []string{"24"}, s.tags(user))
		require.Equal(s, []string{"customer"}, user.Roles)
		require.True(s, s.PasswordWorks(first.UserLogin, firstPassword))
		require.Len(s, s.UsersByEmail(p.email), 1)
	}},
	{"RepeatedCreationIsAnsweredSoAfterALogin", func(s *trial) {
		p, first := s.created()
		require.True(s, s.Login(first.UserLogin, firstPassword))
		s.expect("created", p.creation("r1", firstPassword))
		require.True(s, s.PasswordWorks(first.UserLogin, firstPassword))
		s.expect("updated", p.confirm("r1"))
	}},
	{"ConfirmationEndsTheCreation", func(s *trial) {
		p, first := s.created()
		confirmed := s.expect("updated", p.confirm("r1"))
		require.Equal(s, first.UserID, confirmed.UserID)
		s.expect("unchanged", p.confirm("r1"))
		s.expect("unchanged", p.creation("r1", firstPassword))
		s.expect("unchanged", p.creation("r2", secondPassword))
		s.expect("updated", p.creation("r1", firstPassword).with(object{"fields": object{"first_name": "Ann"}}))
		require.True(s, s.PasswordWorks(first.UserLogin, firstPassword))
	}},
	{"ConfirmationOfAnotherRequestChangesNothing", func(s *trial) {
		p, _ := s.created()
		s.expect("unchanged", p.confirm("r0"))
		s.expect("created", p.creation("r1", firstPassword))
	}},
	{"UpdatesLeaveTheMark", func(s *trial) {
		p, _ := s.created()
		s.expect("updated", p.update(object{"fields": object{"first_name": "Ann"}}))
		s.expect("updated", p.change("update_tags").with(object{"tags": []string{"24"}}))
		s.expect("created", p.creation("r1", firstPassword))
		s.expect("updated", p.confirm("r1"))
	}},
	{"UserOfAGivenPasswordNeedsNoConfirmation", func(s *trial) {
		p := s.person()
		s.expect("created", p.add(object{"request_id": "r1", "user_pass": "given-Pass-word-1"}))
		s.expect("unchanged", p.confirm("r1"))
	}},
	{"PasswordChangedMeanwhileEndsTheCreation", func(s *trial) {
		p, first := s.created()
		s.SetPassword(first.UserID, usersPassword)
		updated := s.expect("updated", p.creation("r1", firstPassword))
		require.Contains(s, updated.Notes, "password_changed")
		require.True(s, s.PasswordWorks(first.UserLogin, usersPassword))
		s.requireConfirmed(p, "r1")
		require.NotContains(s, s.expect("unchanged", p.creation("r1", firstPassword)).Notes, "password_changed")
	}},
	{"LostPasswordIsReplaced", func(s *trial) {
		p, first := s.created()
		again := s.expect("created", p.creation("r2", secondPassword).with(object{"fields": object{"first_name": "Ann"}}))
		require.Equal(s, first.UserID, again.UserID)
		require.True(s, s.PasswordWorks(first.UserLogin, secondPassword))
		require.False(s, s.PasswordWorks(first.UserLogin, firstPassword))
		require.Equal(s, "Ann", s.text(s.stored(first.UserID), "first_name"))
		require.True(s, s.nags(first.UserID))
		s.expect("unchanged", p.confirm("r1"))
		s.expect("created", p.creation("r2", secondPassword))
		s.expect("updated", p.confirm("r2"))
		s.requireConfirmed(p, "r1", "r2")
	}},
	{"ContactsThatShareAnAddressShareNoPassword", func(s *trial) {
		p, first := s.created()
		other := p
		other.id = s.person().id
		second := s.expect("updated", other.creation("r2", secondPassword))
		require.Equal(s, first.UserID, second.UserID)
		require.True(s, s.PasswordWorks(first.UserLogin, firstPassword), "the first contact's password is on its way to the CRM")
		require.False(s, s.PasswordWorks(first.UserLogin, secondPassword))
		s.expect("created", p.creation("r1", firstPassword))
		s.expect("updated", p.confirm("r1"))
		require.Len(s, s.UsersByEmail(p.email), 1)
	}},
	{"LostPasswordStaysAfterALogin", func(s *trial) {
		p, first := s.created()
		require.True(s, s.Login(first.UserLogin, firstPassword))
		s.expect("updated", p.creation("r2", secondPassword))
		require.True(s, s.PasswordWorks(first.UserLogin, firstPassword))
		require.False(s, s.PasswordWorks(first.UserLogin, secondPassword))
		s.requireConfirmed(p, "r1", "r2")
	}},
	{"LostPasswordStaysAfterAChange", func(s *trial) {
		p, first := s.created()
		s.SetPassword(first.UserID, usersPassword)
		s.expect("updated", p.creation("r2", secondPassword))
		require.True(s, s.PasswordWorks(first.UserLogin, usersPassword))
		require.False(s, s.PasswordWorks(first.UserLogin, secondPassword))
		s.requireConfirmed(p, "r1", "r2")
	}},
}
