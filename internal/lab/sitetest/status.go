package sitetest

import (
	"encoding/json"
	"net/http"

	"github.com/stretchr/testify/require"
)

// status is the answer of the status route; absent members stay nil.
type status struct {
	Plugin       *string           `json:"plugin"`
	Protocol     *int              `json:"protocol"`
	WordPress    *string           `json:"wordpress"`
	PHP          *string           `json:"php"`
	WPFusion     *string           `json:"wp_fusion"`
	Roles        map[string]string `json:"roles"`
	DefaultRole  *string           `json:"default_role"`
	Multisite    *bool             `json:"multisite"`
	ContactIDKey *string           `json:"contact_id_key"`
	TagsKey      *string           `json:"tags_key"`
	Limits       struct {
		Contacts int `json:"contacts"`
		Seconds  int `json:"seconds"`
	} `json:"limits"`
	Rights struct {
		Own    *bool    `json:"own"`
		Beyond []string `json:"beyond"`
	} `json:"rights"`
	Locks        *bool `json:"locks"`
	Transactions *bool `json:"transactions"`
}

func (s *trial) status() status {
	s.Helper()
	code, body := s.call(s.strong(), http.MethodGet, statusPath, nil)
	require.Equal(s, http.StatusOK, code, "%s", body)
	var answer status
	require.NoError(s, json.Unmarshal(body, &answer), "%s", body)
	require.NotNil(s, answer.ContactIDKey, "%s", body)
	require.NotNil(s, answer.TagsKey, "%s", body)
	require.NotNil(s, answer.DefaultRole, "%s", body)
	return answer
}

var statusRules = []rule{
	{"TellsVersionsRolesKeysAndLimits", func(s *trial) {
		status := s.status()
		require.NotNil(s, status.Plugin)
		require.NotEmpty(s, *status.Plugin)
		require.NotNil(s, status.Protocol)
		require.Equal(s, 2, *status.Protocol)
		require.NotNil(s, status.WordPress)
		require.NotEmpty(s, *status.WordPress)
		require.NotNil(s, status.PHP)
		require.NotNil(s, status.WPFusion, "empty, not absent, without WP Fusion")
		require.Equal(s, "Subscriber", status.Roles["subscriber"])
		require.Equal(s, "Customer", status.Roles["customer"])
		require.Contains(s, status.Roles, *status.DefaultRole)
		require.NotNil(s, status.Multisite)
		require.Equal(s, 100, status.Limits.Contacts)
		require.Equal(s, 10, status.Limits.Seconds)
	}},
	{"TellsWhatTheUserAndTheDatabaseCanDo", func(s *trial) {
		status := s.status()
		require.NotNil(s, status.Rights.Own)
		require.True(s, *status.Rights.Own)
		require.NotNil(s, status.Rights.Beyond, "empty, not absent, for a user with the role Spillway alone")
		require.Empty(s, status.Rights.Beyond)
		require.NotNil(s, status.Locks)
		require.True(s, *status.Locks)
		require.NotNil(s, status.Transactions)
		require.True(s, *status.Transactions)
	}},
	{"SaysWhatItKnowsOfKeys", func(s *trial) {
		p := s.person()
		key := "spw_known_" + p.id
		s.expect("created", p.add(object{"fields": object{key: "x"}}))
		code, body := s.call(s.strong(), http.MethodGet, statusPath+"?fields=user_email,role,session_tokens,first_name,"+key+",spw_unknown_"+p.id, nil)
		require.Equal(s, http.StatusOK, code, "%s", body)
		var answer struct {
			Fields map[string]string `json:"fields"`
		}
		require.NoError(s, json.Unmarshal(body, &answer), "%s", body)
		require.Equal(s, map[string]string{
			"user_email": "record", "role": "record", "session_tokens": "protected",
			"first_name": "stored", key: "stored", "spw_unknown_" + p.id: "unknown",
		}, answer.Fields)
	}},
	{"NamesTheKeysThatAreUsed", func(s *trial) {
		p := s.person()
		created := s.expect("created", p.add(object{"tags": []string{"24"}}))
		user := s.stored(created.UserID)
		require.Equal(s, p.id, s.text(user, *s.about.ContactIDKey))
		require.Equal(s, []string{"24"}, s.tags(user))
	}},
}
