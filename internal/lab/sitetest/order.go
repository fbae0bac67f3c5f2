package sitetest

import (
	"time"

	"github.com/stretchr/testify/require"
)

// passNumber is a time in µs, as the numbers of passes are.
const passNumber = 1_790_000_000_000_000

// of returns a copy of a contact as the nth of its passes sends it.
func (o object) of(nth int64) object { return o.with(object{"as_of": passNumber + nth}) }

// superseded sends one contact that must be found older than what is stored.
func (s *trial) superseded(contact object) {
	s.Helper()
	result := s.expect("failed", contact)
	require.NotNil(s, result.Error)
	require.Equal(s, "superseded", result.Error.Code)
	require.NotEmpty(s, result.Error.Message)
	require.False(s, result.Error.Permanent, "a newer pass will be stored")
}

// named is an update of the user's first name.
func (p person) named(name string) object {
	return p.update(object{"fields": object{"first_name": name}})
}

// What the numbers of passes keep out.
var orderRules = []rule{
	{"OlderPassChangesNothing", func(s *trial) {
		for _, action := range []string{"update", "add"} {
			p, id := s.user("subscriber")
			s.expect("updated", p.named("Ann").with(object{"tags": []string{"1"}}).of(2))
			before := s.stored(id)
			s.superseded(p.change(action).with(object{
				"fields": object{"first_name": "Bob", "user_email": "bob" + p.email}, "tags": []string{"2"}, "role": "customer",
				"user_pass": "new-Pass-word-1",
			}).of(1))
			require.Equal(s, before, s.stored(id), action)
			require.True(s, s.PasswordWorks(before.Login, oldPassword), action)
			s.expect("updated", p.named("Cem").of(3))
		}
	}},
	{"OlderPassFailsAlone", func(s *trial) {
		p, id := s.user("subscriber")
		q, other := s.user("subscriber")
		s.expect("updated", p.named("Ann").of(2))
		results := s.sendAll(envelope(p.named("Bob").of(1), q.named("Bob").of(1), p.named("Cem").of(3), p.named("Dan").of(2)))
		for i, outcome := range []string{"failed", "updated", "updated", "failed"} {
			require.Equal(s, outcome, results[i].Outcome, "%d: %+v", i, results[i])
		}
		require.Equal(s, "Cem", s.text(s.stored(id), "first_name"))
		require.Equal(s, "Bob", s.text(s.stored(other), "first_name"))
	}},
	{"SamePassIsARepetition", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.named("Ann").of(1))
		s.expect("unchanged", p.named("Ann").of(1))
		s.expect("updated", p.named("Bob").of(1))
		require.Equal(s, "Bob", s.text(s.stored(id), "first_name"))
	}},
	{"UnchangedContactCountsAsStored", func(s *trial) {
		p, _ := s.user("subscriber")
		s.expect("updated", p.named("Ann").of(1))
		s.expect("unchanged", p.named("Ann").of(3))
		s.superseded(p.named("Bob").of(2))
	}},
	{"TagsAreOrderedWithTheRest", func(s *trial) {
		p, id := s.user("subscriber")
		tags := func(tag string) object { return p.change("update_tags").with(object{"tags": []string{tag}}) }
		s.expect("updated", tags("2").of(2))
		s.superseded(tags("1").of(1))
		s.superseded(p.named("Ann").of(1))
		s.expect("updated", p.named("Ann").of(4))
		s.superseded(tags("3").of(3))
		s.expect("updated", tags("5").of(5))
		require.Equal(s, []string{"5"}, s.tags(s.stored(id)))
	}},
	{"PassWithoutANumberIsNeitherComparedNorNoted", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.named("Ann").of(2))
		s.expect("updated", p.named("Bob"))
		s.expect("updated", p.named("Cem").with(object{"as_of": 0}))
		s.superseded(p.named("Dan").of(1))
		s.expect("updated", p.named("Eve").of(2))
		require.Equal(s, "Eve", s.text(s.stored(id), "first_name"))
	}},
	{"AnotherContactOfTheUserIsNotCompared", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.named("Ann").of(2))
		other := p
		other.id = s.person().id
		s.expect("updated", other.named("Bob").with(object{"replaces": p.id}).of(1))
		require.Equal(s, "Bob", s.text(s.stored(id), "first_name"))
		require.Len(s, s.UsersByContact(other.id), 1)
	}},
	{"ContactThatFailedIsNotNoted", func(s *trial) {
		p, _ := s.user("subscriber")
		s.refused("invalid_contact", p.update(object{"fields": object{"first_name": object{"x": 1}}}).of(2))
		s.expect("updated", p.named("Ann").of(1))
	}},
	{"OrderIsForgottenAfterAnHour", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.named("Ann").of(2))
		s.AgeOrder(id, 59*time.Minute)
		s.superseded(p.named("Bob").of(1))
		s.AgeOrder(id, 2*time.Minute)
		s.expect("updated", p.named("Bob").of(1))
		s.superseded(p.named("Cem").of(0))
	}},
	{"AddThatIsLateFindsTheNewerUser", func(s *trial) {
		p := s.person()
		created := s.expect("created", p.add(object{"fields": object{"first_name": "Ann"}}).of(2))
		s.superseded(p.add(object{"fields": object{"first_name": "Bob"}, "notify": true}).of(1))
		require.Equal(s, "Ann", s.text(s.stored(created.UserID), "first_name"))
		require.Empty(s, s.Mails(p.email))
		require.Len(s, s.UsersByEmail(p.email), 1)
	}},
	{"RepeatedCreationIsAnsweredSoUnlessItIsLate", func(s *trial) {
		p := s.person()
		created := s.expect("created", p.creation("r1", firstPassword).of(2))
		s.expect("created", p.creation("r1", firstPassword).of(2))
		s.superseded(p.creation("r1", firstPassword).of(1))
		s.superseded(p.creation("r0", secondPassword).of(1))
		s.expect("created", p.creation("r1", firstPassword).of(3))
		require.True(s, s.PasswordWorks(created.UserLogin, firstPassword))
		s.expect("updated", p.confirm("r1"))
	}},
	{"ConfirmationIsNotCompared", func(s *trial) {
		p := s.person()
		s.expect("created", p.creation("r1", firstPassword).of(2))
		s.expect("updated", p.confirm("r1").of(1))
		s.expect("unchanged", p.creation("r1", firstPassword).of(2))
	}},
	{"PassOfAContactWithoutAUserIsSkipped", func(s *trial) {
		p := s.person()
		s.expect("skipped", p.named("Ann").of(2))
		s.expect("created", p.add(nil).of(1))
	}},
	{"NumberIsAWholeOne", func(s *trial) {
		p, _ := s.user("subscriber")
		for _, number := range []any{"1", -1, 1.5, true, []int{1}} {
			s.refused("invalid_contact", p.named("Ann").with(object{"as_of": number}))
		}
		s.expect("updated", p.named("Ann").with(object{"as_of": nil}))
	}},
}
