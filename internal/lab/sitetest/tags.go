package sitetest

import (
	"fmt"
	"strings"

	"github.com/stretchr/testify/require"
)

// tags reads a user's tags, which stand under the key that the status names.
func (s *trial) tags(user User) []string {
	s.Helper()
	return s.list(user, *s.about.TagsKey)
}

// serialised is a list of strings as PHP and WP Fusion store it.
func serialised(tags ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "a:%d:{", len(tags))
	for i, tag := range tags {
		fmt.Fprintf(&b, "i:%d;s:%d:%q;", i, len(tag), tag)
	}
	return b.String() + "}"
}

// How tags are stored.
var tagRules = []rule{
	{"TagsAreStoredAsAListOfStrings", func(s *trial) {
		p, id := s.user("subscriber")
		for _, tags := range [][]string{{"24", "74"}, {"7"}, {"9", "100", "24"}} {
			contact := p.change("update_tags").with(object{"tags": tags})
			s.expect("updated", contact)
			user := s.stored(id)
			require.Equal(s, tags, s.tags(user), "tags replace those before, in their order")
			if user.RawTags != "" { // a site without a database has none
				require.Equal(s, serialised(tags...), user.RawTags)
			}
			s.expect("unchanged", contact)
		}
	}},
	{"CreationStoresTagsAsAListOfStrings", func(s *trial) {
		created := s.expect("created", s.person().add(object{"tags": []string{"24", "74"}}))
		user := s.stored(created.UserID)
		require.Equal(s, []string{"24", "74"}, s.tags(user))
		if user.RawTags != "" {
			require.Equal(s, serialised("24", "74"), user.RawTags)
		}
	}},
	{"AbsentTagsLeaveTheSitesAlone", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.update(object{"tags": []string{"24"}}))
		s.expect("updated", p.update(object{"fields": object{"first_name": "Ann"}}))
		s.expect("unchanged", p.change("update_tags"))
		require.Equal(s, []string{"24"}, s.tags(s.stored(id)))
	}},
	{"EmptyTagsClearThem", func(s *trial) {
		for _, action := range []string{"add", "update", "update_tags"} {
			p, id := s.user("subscriber")
			s.expect("updated", p.update(object{"tags": []string{"24"}}))
			cleared := p.change(action).with(object{"tags": []string{}})
			s.expect("updated", cleared)
			require.Empty(s, s.tags(s.stored(id)), action)
			s.expect("unchanged", cleared)
		}
	}},
	{"EmptyTagsOfAUserWithoutTagsChangeNothing", func(s *trial) {
		p, _ := s.user("subscriber")
		s.expect("unchanged", p.update(object{"tags": []string{}}))
	}},
}
