package sitetest

import "github.com/stretchr/testify/require"

// Who gets mail.
var mailRules = []rule{
	{"NotifiedCreationSendsOneMail", func(s *trial) {
		p := s.person()
		creation := p.creation("r1", firstPassword).with(object{"notify": true})
		s.expect("created", creation)
		require.Len(s, s.Mails(p.email), 1)
		s.expect("created", creation)
		s.expect("created", p.creation("r2", secondPassword).with(object{"notify": true}))
		s.expect("updated", p.confirm("r2"))
		s.expect("unchanged", creation)
		require.Len(s, s.Mails(p.email), 1, "repetitions send it no second time")
	}},
	{"CreationSendsNoMailUnlessAsked", func(s *trial) {
		for _, members := range []object{{}, {"notify": false}} {
			p := s.person()
			s.expect("created", p.add(members))
			require.Empty(s, s.Mails(p.email))
		}
	}},
	{"MailLeavesTheGivenPassword", func(s *trial) {
		p := s.person()
		created := s.expect("created", p.add(object{"user_pass": "given-Pass-word-1", "notify": true}))
		require.Len(s, s.Mails(p.email), 1)
		require.True(s, s.PasswordWorks(created.UserLogin, "given-Pass-word-1"))
	}},
	{"ExistingUserGetsNoMail", func(s *trial) {
		p, _ := s.user("subscriber")
		before := len(s.Mails(p.email))
		s.expect("updated", p.add(object{"notify": true, "fields": object{"first_name": "Ann"}, "role": "customer"}))
		require.Len(s, s.Mails(p.email), before)
	}},
	{"FailedCreationSendsNoMail", func(s *trial) {
		_, id := s.user("subscriber")
		p := s.person()
		s.refused("user_login_taken", p.add(object{"notify": true, "user_login": s.stored(id).Login}))
		require.Empty(s, s.Mails(p.email))
	}},
}
