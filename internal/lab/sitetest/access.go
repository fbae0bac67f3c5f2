package sitetest

import (
	"encoding/json"
	"net/http"

	"github.com/stretchr/testify/require"
)

// Both routes need an application password of a user with the right.
var accessRules = []rule{
	{"NobodyGets401AndChangesNothing", func(s *trial) {
		s.testRefusedAccess(nil, http.StatusUnauthorized, "spillway_no_credentials")
	}},
	{"WrongPasswordGets401AndChangesNothing", func(s *trial) {
		s.testRefusedAccess(&account{s.strong().user, "wrong wrong wrong"}, http.StatusUnauthorized, "spillway_wrong_password")
	}},
	{"UnknownUserGets401AndChangesNothing", func(s *trial) {
		s.testRefusedAccess(&account{"nobody-of-this-site", "wrong wrong wrong"}, http.StatusUnauthorized, "spillway_unknown_user")
	}},
	{"SubscriberGets403AndChangesNothing", func(s *trial) {
		s.testRefusedAccess(s.weak(), http.StatusForbidden, "spillway_no_right")
	}},
	{"SecondHeaderCountsBeforeTheFirst", func(s *trial) {
		for _, test := range []struct {
			first, second *account
			want          int
		}{
			{nil, s.strong(), http.StatusOK},
			{&account{"staging", "of the web server"}, s.strong(), http.StatusOK},
			{s.strong(), &account{s.strong().user, "wrong wrong wrong"}, http.StatusUnauthorized},
		} {
			request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, s.URL()+statusPath, nil)
			require.NoError(s, err)
			request.SetBasicAuth(test.second.user, test.second.password)
			request.Header.Set("X-Spillway-Authorization", request.Header.Get("Authorization"))
			request.Header.Del("Authorization")
			if test.first != nil {
				request.SetBasicAuth(test.first.user, test.first.password)
			}
			response, err := http.DefaultClient.Do(request)
			require.NoError(s, err)
			require.NoError(s, response.Body.Close())
			require.Equal(s, test.want, response.StatusCode, "%+v", test)
		}
	}},
	{"NoCacheMayKeepAnAnswer", func(s *trial) {
		for _, as := range []*account{nil, s.strong()} {
			request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, s.URL()+statusPath, nil)
			require.NoError(s, err)
			if as != nil {
				request.SetBasicAuth(as.user, as.password)
			}
			response, err := http.DefaultClient.Do(request)
			require.NoError(s, err)
			require.NoError(s, response.Body.Close())
			require.Contains(s, response.Header.Get("Cache-Control"), "no-store", "status %d", response.StatusCode)
		}
	}},
}

func (s *trial) testRefusedAccess(as *account, want int, code string) {
	existing, id := s.user("subscriber")
	added := s.person()
	status, body := s.post(as, envelope(
		added.add(nil),
		existing.update(object{"fields": object{"first_name": "Eve"}, "tags": []string{"1"}, "role": "customer"}),
	))
	require.Equal(s, want, status, "%s", body)
	require.Empty(s, s.UsersByEmail(added.email))
	user := s.stored(id)
	require.Empty(s, s.text(user, "first_name"))
	require.Equal(s, []string{"subscriber"}, user.Roles)

	status, body = s.call(as, http.MethodGet, statusPath, nil)
	require.Equal(s, want, status, "%s", body)
	require.NotContains(s, string(body), "wp_fusion", "the status is for those with the right")
	var refusal struct {
		Code string `json:"code"`
	}
	require.NoError(s, json.Unmarshal(body, &refusal), "%s", body)
	require.Equal(s, code, refusal.Code)
}

// What a request and its answer look like.
var requestRules = []rule{
	{"BodyThatIsNoSuchObjectIsRefusedAsAWhole", func(s *trial) {
		p := s.person()
		for _, body := range []string{
			`not json`, `{"contacts":[`, ``, `"text"`, `[]`, `[{"contacts":[]}]`, `{}`,
			`{"roles_allowed":["subscriber"]}`, `{"contacts":"x"}`, `{"contacts":{"a":1}}`, `{"contacts":[1]}`,
			`{"contacts":[{"contact_id":"` + p.id + `","action":"add","email":"` + p.email + `"},"x"]}`,
		} {
			status, answer := s.call(s.strong(), http.MethodPost, contactsPath, []byte(body))
			s.requireBadRequest(body, status, answer)
		}
		require.Empty(s, s.UsersByEmail(p.email), "nothing is stored")
	}},
	{"MoreThan100ContactsAreRefusedAsAWhole", func(s *trial) {
		p := s.person()
		contacts := []object{p.add(nil)}
		for len(contacts) < 101 {
			contacts = append(contacts, s.person().change("update_tags"))
		}
		status, answer := s.post(s.strong(), envelope(contacts...))
		s.requireBadRequest("101 contacts", status, answer)
		require.Empty(s, s.UsersByEmail(p.email), "nothing is stored")
	}},
	{"100ContactsAreAnswered", func(s *trial) {
		contacts := make([]object, 100)
		for i := range contacts {
			contacts[i] = s.person().change("update_tags")
		}
		for _, result := range s.sendAll(envelope(contacts...)) {
			require.Equal(s, "skipped", result.Outcome)
		}
	}},
	{"NoContactsAreAnsweredWithNoResults", func(s *trial) {
		require.Empty(s, s.sendAll(envelope([]object{}...)))
	}},
	{"UnknownMembersAreIgnored", func(s *trial) {
		p, id := s.user("subscriber")
		contact := p.update(object{"fields": object{"first_name": "Ann"}, "colour": "blue", "list": []int{1}})
		require.Equal(s, "updated", s.sendAll(envelope(contact).with(object{"weather": object{"rain": true}}))[0].Outcome)
		require.Equal(s, "Ann", s.text(s.stored(id), "first_name"))
	}},
	{"ResultsAnswerEveryContactInOrder", func(s *trial) {
		known, id := s.user("subscriber")
		fresh, unknown, bad := s.person(), s.person(), s.person()
		results := s.sendAll(envelope( // sendAll compares the ids
			unknown.update(nil),
			fresh.add(nil),
			object{"contact_id": bad.id, "action": "add"},
			known.update(object{"fields": object{"first_name": "Ann"}}),
			known.update(object{"fields": object{"first_name": "Ann"}}),
		))
		outcomes := make([]string, len(results))
		for i, result := range results {
			outcomes[i] = result.Outcome
		}
		require.Equal(s, []string{"skipped", "created", "failed", "updated", "unchanged"}, outcomes)
		require.Equal(s, id, results[3].UserID)
		require.Equal(s, s.stored(id).Login, results[3].UserLogin)
		require.Equal(s, "subscriber", results[3].Role)
	}},
	{"AnswerTellsItsTime", func(s *trial) {
		status, body := s.post(s.strong(), envelope(s.person().update(nil)))
		require.Equal(s, http.StatusOK, status)
		var answer struct {
			Elapsed *float64 `json:"elapsed_ms"`
		}
		require.NoError(s, json.Unmarshal(body, &answer))
		require.NotNil(s, answer.Elapsed, "%s", body)
		require.GreaterOrEqual(s, *answer.Elapsed, 0.0)
	}},
	{"ContactsAreWorkedInOrder", func(s *trial) {
		p := s.person()
		results := s.sendAll(envelope(
			p.creation("r1", "first-Password-1"), p.confirm("r1"), p.creation("r1", "first-Password-1"),
		))
		require.Equal(s, "created", results[0].Outcome)
		require.Equal(s, "updated", results[1].Outcome)
		require.Equal(s, "unchanged", results[2].Outcome)
	}},
	{"FailedContactChangesNothingAndDisturbsNoOther", func(s *trial) {
		before, beforeID := s.user("subscriber")
		bad, badID := s.user("subscriber")
		after, afterID := s.user("subscriber")
		change := object{"fields": object{"first_name": "Ann"}, "tags": []string{"24"}, "role": "customer"}
		mistaken := bad.update(change).with(object{
			"fields": object{"first_name": "Ann", "last_name": object{"Lee": 1}}, "user_pass": "new-Pass-1",
		})
		results := s.sendAll(envelope(before.update(change), mistaken, after.update(change)))
		require.Equal(s, "updated", results[0].Outcome)
		s.requireRefused("invalid_contact", mistaken, results[1])
		require.Equal(s, "updated", results[2].Outcome)

		user := s.stored(badID)
		require.Empty(s, s.text(user, "first_name"))
		require.Empty(s, s.text(user, "last_name"))
		require.Empty(s, s.tags(user))
		require.Equal(s, []string{"subscriber"}, user.Roles)
		require.Equal(s, bad.email, user.Email)
		require.True(s, s.PasswordWorks(user.Login, oldPassword))
		for _, id := range []int64{beforeID, afterID} {
			require.Equal(s, "Ann", s.text(s.stored(id), "first_name"))
			require.Equal(s, []string{"customer"}, s.stored(id).Roles)
		}
	}},
	{"UnknownActionStoresNothing", func(s *trial) {
		p, id := s.user("subscriber")
		status, body := s.post(s.strong(), envelope(p.change("destroy").with(object{"fields": object{"first_name": "Eve"}})))
		require.Less(s, status, http.StatusInternalServerError, "%s", body)
		require.Empty(s, s.text(s.stored(id), "first_name"))
		require.NotContains(s, string(body), `"updated"`)
	}},
}

func (s *trial) requireBadRequest(sent string, status int, answer []byte) {
	s.Helper()
	require.Equal(s, http.StatusBadRequest, status, "%s was answered %s", sent, answer)
	var refusal struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	require.NoError(s, json.Unmarshal(answer, &refusal), "%s was answered %s", sent, answer)
	require.Equal(s, "spillway_bad_request", refusal.Code, "%s was answered %s", sent, answer)
	require.NotEmpty(s, refusal.Message)
}
