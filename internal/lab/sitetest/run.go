package sitetest

import (
	"crypto/rand"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

// Run tests that the site which start returns keeps the contract. start is
// called once; all subtests share the site and run in parallel, each with
// contacts, users and addresses of its own, so the harness is called from
// several goroutines and the site may hold other users.
//
// The site needs the roles subscriber ("Subscriber"), customer ("Customer"),
// editor ("Editor", with unfiltered_html) and administrator ("Administrator").
//
// Not tested here, since no harness shows it: the deferral of contacts after
// 10 seconds, commits within a request, several sites in one WordPress, mail
// to the administrator, users with some of the three capabilities, WP Fusion.
func Run(t *testing.T, start func(t *testing.T) Harness) {
	site := start(t)
	about := (&trial{T: t, Harness: site}).status()
	groups := []group{
		{"Access", accessRules},
		{"Requests", requestRules},
		{"Finding", findingRules},
		{"Actions", actionRules},
		{"Fields", fieldRules},
		{"Scripts", scriptRules},
		{"Kept", keptRules},
		{"Protected", protectedRules},
		{"Address", addressRules},
		{"Tags", tagRules},
		{"Untold", untoldRules},
		{"Creation", creationRules},
		{"Passwords", passwordRules},
		{"Roles", roleRules},
		{"Confirmation", confirmationRules},
		{"Order", orderRules},
		{"Mail", mailRules},
		{"Status", statusRules},
		{"Listing", listingRules},
		{"Observations", observationRules},
		{"Connecting", connectRules},
	}
	if *about.WPFusion == "" {
		groups = append(groups, group{"Values", valueRules})
	}
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for _, rule := range group.rules {
				t.Run(rule.name, func(t *testing.T) {
					t.Parallel()
					rule.test(&trial{T: t, Harness: site, about: about})
				})
			}
		})
	}
}

// group is a section of the protocol.
type group struct {
	name  string
	rules []rule
}

// rule is a sentence of the protocol with its test.
type rule struct {
	name string
	test func(s *trial)
}

// trial is one subtest on the shared site.
type trial struct {
	*testing.T
	Harness
	about status
}

// person is a contact that nothing else in the suite uses.
type person struct {
	id    string
	email string
}

// person returns a contact whom the site does not know.
func (s *trial) person() person {
	s.Helper()
	// 15 digits, so that a digit more is still a contact id.
	n, err := rand.Int(rand.Reader, big.NewInt(9e14))
	require.NoError(s, err)
	id := n.Add(n, big.NewInt(1e14)).String()
	return person{id: id, email: "c" + id + "@example.com"}
}

// oldPassword is the password of every user whom the suite makes.
const oldPassword = "old-Pass-word-1"

// user returns a contact whose user exists, with a role, and that user's id.
func (s *trial) user(role string) (person, int64) {
	s.Helper()
	p := s.person()
	id := s.CreateUser(NewUser{
		Login: "user" + p.id, Email: p.email, Password: oldPassword, Role: role, ContactID: p.id,
	})
	require.Positive(s, id)
	return p, id
}

// stored reads a user who must exist.
func (s *trial) stored(id int64) User {
	s.Helper()
	user, ok := s.UserByID(id)
	require.True(s, ok, "no user %d", id)
	return user
}

// text is a stored meta value that must be one string; a missing one is empty.
func (s *trial) text(user User, key string) string {
	s.Helper()
	switch value := user.Meta[key].(type) {
	case nil:
		return ""
	case string:
		return value
	default:
		require.Failf(s, "not a string", "meta %s is %#v", key, value)
		return ""
	}
}

// list is a stored meta value that must be a list; a missing one is empty.
func (s *trial) list(user User, key string) []string {
	s.Helper()
	switch value := user.Meta[key].(type) {
	case nil:
		return nil
	case []string:
		return value
	case []any:
		list := make([]string, len(value))
		for i, element := range value {
			text, ok := element.(string)
			require.True(s, ok, "meta %s has the element %#v, not a string", key, element)
			list[i] = text
		}
		return list
	default:
		require.Failf(s, "not a list", "meta %s is %#v", key, value)
		return nil
	}
}
