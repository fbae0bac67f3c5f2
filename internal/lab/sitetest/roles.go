package sitetest

import (
	"net/http"

	"github.com/stretchr/testify/require"
)

// allowing returns a request with other roles than [envelope] allows.
func allowing(roles []string, defaultRole string, contacts ...object) object {
	return envelope(contacts...).with(object{"roles_allowed": roles, "default_role": defaultRole})
}

// Which role a user gets.
var roleRules = []rule{
	{"RoleIsASlugOrATitle", func(s *trial) {
		for _, role := range []string{"customer", "Customer"} {
			created := s.expect("created", s.person().add(object{"role": role}))
			require.Equal(s, "customer", created.Role, role)
			require.Equal(s, []string{"customer"}, s.stored(created.UserID).Roles, role)
			require.Empty(s, created.Notes, role)

			p, id := s.user("subscriber")
			require.Equal(s, "customer", s.expect("updated", p.update(object{"role": role})).Role, role)
			require.Equal(s, []string{"customer"}, s.stored(id).Roles, role)
		}
	}},
	{"RoleFieldIsUsedWhenRoleIsEmpty", func(s *trial) {
		created := s.expect("created", s.person().add(object{"fields": object{"role": "Customer"}}))
		require.Equal(s, []string{"customer"}, s.stored(created.UserID).Roles)

		p, id := s.user("subscriber")
		s.expect("updated", p.update(object{"fields": object{"role": "customer"}}))
		require.Equal(s, []string{"customer"}, s.stored(id).Roles)
		s.expect("updated", p.update(object{"role": "subscriber", "fields": object{"role": "customer"}}))
		require.Equal(s, []string{"subscriber"}, s.stored(id).Roles)
	}},
	{"NewUserWithoutARoleGetsTheDefault", func(s *trial) {
		created := s.expect("created", s.person().add(nil))
		require.Equal(s, []string{*s.about.DefaultRole}, s.stored(created.UserID).Roles)
		require.Empty(s, created.Notes)

		result := s.sendAll(allowing([]string{"customer"}, "customer", s.person().add(nil)))[0]
		require.Equal(s, "created", result.Outcome)
		require.Equal(s, []string{"customer"}, s.stored(result.UserID).Roles)
		require.Empty(s, result.Notes)
	}},
	{"ExistingUserKeepsTheRoleWhenNoneIsAsked", func(s *trial) {
		p, id := s.user("customer")
		s.sendAll(allowing([]string{"subscriber"}, "subscriber", p.add(nil), p.update(nil)))
		require.Equal(s, []string{"customer"}, s.stored(id).Roles)
	}},
	{"UnknownRoleIsNotedAndNotGiven", func(s *trial) {
		s.testRoleNotGiven("wizard", []string{"subscriber", "customer", "wizard"}, "role_unknown")
	}},
	{"RoleThatIsNotOnTheListIsNotedAndNotGiven", func(s *trial) {
		s.testRoleNotGiven("customer", []string{"subscriber"}, "role_not_allowed")
		s.testRoleNotGiven("Customer", []string{}, "role_not_allowed")
	}},
	{"AdministratorIsNeverGiven", func(s *trial) {
		for _, role := range []string{"administrator", "Administrator"} {
			s.testRoleNotGiven(role, []string{"subscriber", "customer"}, "role_not_allowed")
			s.testRoleNotGiven(role, []string{"administrator", "Administrator"}, "role_not_allowed")
		}
	}},
	{"RoleWithRightsOfAnAdministratorIsNeverGiven", func(s *trial) {
		require.Contains(s, s.about.Roles, "editor")
		s.testRoleNotGiven("editor", []string{"editor"}, "role_not_allowed")
		s.testRoleNotGiven("Editor", []string{"editor"}, "role_not_allowed")
	}},
	{"DefaultRoleIsGivenInsteadWhenItMayBe", func(s *trial) {
		for _, test := range []struct {
			allowed     []string
			defaultRole string
			want        string
		}{
			{[]string{"customer"}, "customer", "customer"},
			{[]string{"subscriber"}, "customer", *s.about.DefaultRole},
			{[]string{"customer", "administrator"}, "administrator", *s.about.DefaultRole},
			{[]string{"customer", "editor"}, "editor", *s.about.DefaultRole},
			{[]string{"customer"}, "wizard", *s.about.DefaultRole},
		} {
			contact := s.person().add(object{"role": "administrator"})
			result := s.sendAll(allowing(test.allowed, test.defaultRole, contact))[0]
			require.Equal(s, "created", result.Outcome)
			require.Equal(s, []string{test.want}, s.stored(result.UserID).Roles, "%+v", test)
			require.Contains(s, result.Notes, "role_not_allowed")
		}
	}},
	{"WithoutAListNoRoleIsAllowed", func(s *trial) {
		p, id := s.user("subscriber")
		request := envelope(p.update(object{"role": "customer"}))
		delete(request, "roles_allowed")
		status, body := s.post(s.strong(), request)
		require.Contains(s, []int{http.StatusOK, http.StatusBadRequest}, status, "%s", body)
		require.Equal(s, []string{"subscriber"}, s.stored(id).Roles)
	}},
}

// testRoleNotGiven asks for a role as member and as field, for a new and for
// an existing user.
func (s *trial) testRoleNotGiven(role string, allowed []string, note string) {
	s.Helper()
	for _, members := range []object{{"role": role}, {"fields": object{"role": role}}} {
		fresh := s.person()
		existing, id := s.user("subscriber")
		results := s.sendAll(allowing(allowed, "", fresh.add(members), existing.update(members), existing.add(members)))
		for _, result := range results {
			require.Contains(s, result.Notes, note, "%v asked, %v allowed", members, allowed)
		}
		require.Equal(s, "created", results[0].Outcome)
		require.Equal(s, []string{*s.about.DefaultRole}, s.stored(results[0].UserID).Roles)
		require.Equal(s, *s.about.DefaultRole, results[0].Role)
		require.Equal(s, []string{"subscriber"}, s.stored(id).Roles)
		require.Equal(s, "subscriber", results[1].Role)
	}
}
