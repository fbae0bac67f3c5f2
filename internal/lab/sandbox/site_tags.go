package sandbox

import (
	"slices"

	"spillway/internal/contact"
)

// Enrol makes the site treat users with a tag as an integration of WP Fusion does
// that enrols them somewhere: whenever a contact's tags are stored and this one is
// among them, the user gets and loses other tags.
func (s *Site) Enrol(tag string, applied, removed []string) {
	s.users.mu.Lock()
	defer s.users.mu.Unlock()
	s.users.enrolments = append(s.users.enrolments, enrolment{tag, applied, removed})
}

type enrolment struct {
	tag              string
	applied, removed []string
}

// untold are tags that the site has given and taken by itself and that the CRM
// has not been told of.
type untold struct {
	applied, removed []string
	created          string // the tag of a created user
}

func (t untold) clone() untold {
	return untold{slices.Clone(t.applied), slices.Clone(t.removed), t.created}
}

// storeTags replaces a user's tags by the contact's, as far as the CRM knows all
// that the site has changed; nil leaves them alone.
func (s *users) storeTags(u *user, in incoming) {
	if in.tags == nil {
		return
	}
	told := in.tags
	if u.untold.created != "" && slices.Contains(told, u.untold.created) {
		u.untold.created = ""
	}
	tags := without(told, u.untold.removed)
	for _, tag := range append(slices.Clone(u.untold.applied), u.untold.created) {
		if tag != "" && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	for _, rule := range s.enrolments {
		if in.observed || !slices.Contains(tags, rule.tag) {
			continue
		}
		given, taken := without(rule.applied, tags), without(rule.removed, without(rule.removed, tags))
		tags = append(without(tags, taken), given...)
		u.untold.applied = append(without(u.untold.applied, taken), given...)
		u.untold.removed = append(without(u.untold.removed, given), taken...)
	}
	u.untold.applied = without(u.untold.applied, told)
	u.untold.removed = without(u.untold.removed, without(u.untold.removed, told))
	u.setTags(tags)
}

// tell puts what the CRM has to be told into the answer for a contact. The tag of
// a created user comes after the password: until that is confirmed it is for the
// creation alone.
func (u *user) tell(r *result, action string) {
	r.AppliedTags, r.RemovedTags = slices.Clone(u.untold.applied), slices.Clone(u.untold.removed)
	if u.untold.created != "" && (u.mark == nil || action == contact.Add.String()) {
		r.AppliedTags = append(r.AppliedTags, u.untold.created)
	}
}

// forget takes off what the CRM has been told of, and reports whether there was
// any of it.
func (u *user) forget(in incoming) bool {
	before := len(u.untold.applied) + len(u.untold.removed) + len(u.untold.created)
	u.untold.applied = without(u.untold.applied, in.appliedTags)
	u.untold.removed = without(u.untold.removed, in.removedTags)
	if slices.Contains(in.appliedTags, u.untold.created) {
		u.untold.created = ""
	}
	return len(u.untold.applied)+len(u.untold.removed)+len(u.untold.created) != before
}

// setTags replaces the tags.
func (u *user) setTags(tags []string) {
	if len(tags) == 0 {
		delete(u.Meta, tagsKey)
		return
	}
	u.Meta[tagsKey] = tags
}

// without returns a copy of a list that lacks the elements of another one.
func without(list, others []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(element string) bool { return slices.Contains(others, element) })
}
