package sitetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// listing is the answer of the listing route.
type listing struct {
	Users []listedUser `json:"users"`
	Next  *int64       `json:"next"`
}

type listedUser struct {
	UserID    int64    `json:"user_id"`
	ContactID string   `json:"contact_id"`
	Tags      []string `json:"tags"`
	AsOf      *int64   `json:"as_of"`
	StoredAt  *int64   `json:"stored_at"`
}

// users asks for a page of users.
func (s *trial) users(query string) listing {
	s.Helper()
	code, body := s.call(s.strong(), http.MethodGet, contactsPath+query, nil)
	require.Equal(s, http.StatusOK, code, "%s", body)
	var answer listing
	require.NoError(s, json.Unmarshal(body, &answer), "%s", body)
	require.NotNil(s, answer.Users, "empty, not absent: %s", body)
	require.Contains(s, string(body), `"next"`)
	return answer
}

// usersOf asks for the users of contacts.
func (s *trial) usersOf(ids ...string) []listedUser {
	s.Helper()
	answer := s.users("?contact_ids=" + strings.Join(ids, ","))
	require.Nil(s, answer.Next)
	return answer.Users
}

// What the site tells of the contacts that it stores.
var listingRules = []rule{
	{"EveryUserWithAContactIdIsOnExactlyOnePage", func(s *trial) {
		wanted := map[int64]string{}
		for range 7 {
			p, id := s.user("subscriber")
			wanted[id] = p.id
		}
		without := s.person()
		bare := s.CreateUser(NewUser{Login: "user" + without.id, Email: without.email, Password: oldPassword, Role: "subscriber"})
		after, last := int64(0), int64(0)
		for {
			page := s.users(fmt.Sprintf("?after=%d&limit=5", after))
			require.LessOrEqual(s, len(page.Users), 5)
			for _, user := range page.Users {
				require.Greater(s, user.UserID, last, "in the order of the ids")
				require.NotEmpty(s, user.ContactID)
				require.NotEqual(s, bare, user.UserID)
				last = user.UserID
				if id, ok := wanted[user.UserID]; ok {
					require.Equal(s, id, user.ContactID)
					delete(wanted, user.UserID)
				}
			}
			if page.Next == nil {
				break
			}
			require.GreaterOrEqual(s, *page.Next, last)
			require.Greater(s, *page.Next, after)
			after = *page.Next
		}
		require.Empty(s, wanted)
	}},
	{"PageBeginsAboveAUser", func(s *trial) {
		_, first := s.user("subscriber")
		p, second := s.user("subscriber")
		page := s.users(fmt.Sprintf("?after=%d&limit=1", second-1))
		require.Len(s, page.Users, 1)
		require.Equal(s, second, page.Users[0].UserID)
		require.Equal(s, p.id, page.Users[0].ContactID)
		require.Equal(s, second, *page.Next)
		for _, user := range s.users(fmt.Sprintf("?after=%d", first)).Users {
			require.Greater(s, user.UserID, first)
		}
	}},
	{"TagsAndLastPassAreThoseThatAreStored", func(s *trial) {
		p, id := s.user("subscriber")
		bare := s.usersOf(p.id)
		require.Len(s, bare, 1)
		require.Equal(s, id, bare[0].UserID)
		require.NotNil(s, bare[0].Tags, "empty, not absent")
		require.Empty(s, bare[0].Tags)
		require.Zero(s, *bare[0].AsOf)
		require.Zero(s, *bare[0].StoredAt)

		began := time.Now()
		asOf := began.UnixMicro()
		s.expect("updated", p.update(object{"tags": []string{"24", "7"}, "as_of": asOf}))
		stored := s.usersOf(p.id)[0]
		require.Equal(s, []string{"24", "7"}, stored.Tags)
		require.Equal(s, asOf, *stored.AsOf)
		const skew = 60 // the site may have a clock of its own
		require.InDelta(s, began.Unix(), *stored.StoredAt, skew)

		s.expect("unchanged", p.update(object{"tags": []string{"24", "7"}, "as_of": asOf + 1}))
		require.Equal(s, asOf+1, *s.usersOf(p.id)[0].AsOf, "an unchanged contact has had its pass")
		s.expect("updated", p.update(object{"tags": []string{}, "as_of": asOf + 2}))
		require.Empty(s, s.usersOf(p.id)[0].Tags)
	}},
	{"LastPassOfAnotherContactDoesNotCount", func(s *trial) {
		p, other := s.person(), s.person()
		created := s.expect("created", p.add(object{"as_of": 1790000000000000}))
		require.EqualValues(s, 1790000000000000, *s.usersOf(p.id)[0].AsOf)
		relinked := other.add(nil).with(object{"email": p.email})
		require.Equal(s, created.UserID, s.expect("updated", relinked).UserID)
		now := s.usersOf(other.id)
		require.Len(s, now, 1)
		require.Zero(s, *now[0].AsOf)
		require.Empty(s, s.usersOf(p.id))
	}},
	{"AllUsersOfAContactAreListed", func(s *trial) {
		p, first := s.user("subscriber")
		twin := s.person()
		second := s.CreateUser(NewUser{Login: "user" + twin.id, Email: twin.email, Password: oldPassword, Role: "subscriber", ContactID: p.id})
		alone, third := s.user("subscriber")
		var found []int64
		for _, user := range s.usersOf(alone.id, s.person().id, p.id) {
			found = append(found, user.UserID)
		}
		require.Equal(s, []int64{first, second, third}, found)
	}},
	{"WrongParametersAreRefused", func(s *trial) {
		many := strings.Repeat("1,", 100) + "1"
		for _, query := range []string{
			"?after=-1", "?after=x", "?after=1.5", "?after=", "?limit=0", "?limit=1001", "?limit=-1", "?limit=many",
			"?contact_ids=", "?contact_ids=1,,2", "?contact_ids=" + many,
		} {
			status, answer := s.call(s.strong(), http.MethodGet, contactsPath+query, nil)
			s.requireBadRequest(query, status, answer)
		}
	}},
	{"NobodyElseIsTold", func(s *trial) {
		p, _ := s.user("subscriber")
		for _, as := range []*account{nil, {s.strong().user, "wrong wrong wrong"}, {"nobody-of-this-site", "x"}, s.weak()} {
			status, body := s.call(as, http.MethodGet, contactsPath+"?contact_ids="+p.id, nil)
			require.Contains(s, []int{http.StatusUnauthorized, http.StatusForbidden}, status)
			require.NotContains(s, string(body), p.id)
			require.Contains(s, string(body), `"spillway_`)
		}
	}},
	{"QuestionChangesNothing", func(s *trial) {
		p, id := s.user("subscriber")
		s.expect("updated", p.update(object{"tags": []string{"24"}, "as_of": 1790000000000000}))
		before := s.stored(id)
		s.usersOf(p.id)
		s.users("")
		require.Equal(s, before, s.stored(id))
	}},
}
