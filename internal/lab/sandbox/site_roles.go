package sandbox

import (
	"slices"
	"strings"
)

const (
	administrator   = "administrator"
	siteDefaultRole = "subscriber"
)

// siteRole is a registered role. A powerful one carries a capability of an
// administrator, such as unfiltered_html; staff can do more than a member.
type siteRole struct {
	slug, title string
	powerful    bool
	staff       bool
}

// siteRoles are WordPress's own, a shop's customer, and the one that the
// connector's account has.
func siteRoles() []siteRole {
	return []siteRole{
		{slug: administrator, title: "Administrator", powerful: true, staff: true},
		{slug: "editor", title: "Editor", powerful: true, staff: true},
		{slug: "author", title: "Author", staff: true},
		{slug: "contributor", title: "Contributor", staff: true},
		{slug: "subscriber", title: "Subscriber"},
		{slug: "customer", title: "Customer"},
		{slug: "spillway", title: "Spillway", powerful: true, staff: true},
	}
}

func roleTitles() map[string]string {
	titles := map[string]string{}
	for _, role := range siteRoles() {
		titles[role.slug] = role.title
	}
	return titles
}

// findRole finds a role by its slug or its title; case does not matter.
func findRole(name string) (siteRole, bool) {
	roles := siteRoles()
	i := slices.IndexFunc(roles, func(r siteRole) bool {
		return strings.EqualFold(r.slug, name) || strings.EqualFold(r.title, name)
	})
	if i < 0 {
		return siteRole{}, false
	}
	return roles[i], true
}

func isStaff(roles []string) bool {
	return slices.ContainsFunc(roles, func(slug string) bool {
		role, ok := findRole(slug)
		return ok && role.staff
	})
}

// rolePolicy is what a request says about roles.
type rolePolicy struct {
	allowed  []string
	standard string // for new users
}

// resolve returns the slug of a role that may be given, else the note that says
// why it may not.
func (p rolePolicy) resolve(name string) (slug, note string) {
	role, ok := findRole(name)
	switch {
	case !ok:
		return "", "role_unknown"
	case role.slug == administrator, role.powerful, !slices.Contains(p.allowed, role.slug):
		return "", "role_not_allowed"
	}
	return role.slug, ""
}

// forNew returns the role of a new user and, if it is another than the one asked
// for, the note that says why.
func (p rolePolicy) forNew(asked string) (slug, note string) {
	if asked != "" {
		if slug, note = p.resolve(asked); note == "" {
			return slug, ""
		}
	}
	// A setting names a slug; titles are for webhooks.
	if standard, refused := p.resolve(p.standard); refused == "" && standard == p.standard {
		return standard, note
	}
	return siteDefaultRole, note
}
