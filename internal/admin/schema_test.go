package admin_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// schema is as much of JSON Schema as the description of the API uses.
type schema struct {
	Ref                  string `json:"$ref"`
	Type                 any
	Const                any
	Enum                 []any
	Format               string
	Required             []string
	Properties           map[string]schema
	AdditionalProperties *schema
	Items                *schema
}

type answerOf struct {
	Ref     string `json:"$ref"`
	Content map[string]struct{ Schema schema }
}

// description is the API's own.
type description struct {
	Paths      map[string]map[string]struct{ Responses map[string]answerOf }
	Components struct {
		Responses map[string]answerOf
		Schemas   map[string]schema
	}
}

// requireDescribed says that the answer of a route is one of those that are described:
// its status, each member that must be there, and no other.
func (d description) requireDescribed(t *testing.T, method, path string, status int, body string) {
	t.Helper()
	answer, known := d.Paths[path][strings.ToLower(method)].Responses[strconv.Itoa(status)]
	require.True(t, known, "%s %s: %d is not described: %s", method, path, status, body)
	if answer.Ref != "" {
		answer = d.Components.Responses[last(answer.Ref)]
	}
	var value any
	require.NoError(t, json.Unmarshal([]byte(body), &value), body)
	d.require(t, answer.Content["application/json"].Schema, value, method+" "+path+": "+body+"\nthe answer")
}

func last(ref string) string { return ref[strings.LastIndex(ref, "/")+1:] }

func (d description) require(t *testing.T, s schema, value any, where string) {
	t.Helper()
	if s.Ref != "" {
		s = d.Components.Schemas[last(s.Ref)]
	}
	if s.Const != nil {
		require.Equal(t, s.Const, value, where)
	}
	if len(s.Enum) > 0 {
		require.Contains(t, s.Enum, value, where)
	}
	kind := "null"
	switch v := value.(type) {
	case bool:
		kind = "boolean"
	case float64:
		if kind = "number"; v == float64(int64(v)) && !allows(s.Type, "number") {
			kind = "integer"
		}
	case string:
		kind = "string"
		if s.Format == "date-time" {
			_, err := time.Parse(time.RFC3339Nano, v)
			require.NoError(t, err, where)
		}
	case []any:
		kind = "array"
		for i, item := range v {
			require.NotNil(t, s.Items, where)
			d.require(t, *s.Items, item, where+"["+strconv.Itoa(i)+"]")
		}
	case map[string]any:
		kind = "object"
		for _, name := range s.Required {
			require.Contains(t, v, name, where)
		}
		for name, member := range v {
			described, known := s.Properties[name]
			if !known && s.AdditionalProperties != nil {
				described, known = *s.AdditionalProperties, true
			}
			if known || s.Properties != nil {
				require.True(t, known, "%s has %s, which is not described", where, name)
				d.require(t, described, member, where+"."+name)
			}
		}
	}
	if s.Type != nil {
		require.True(t, allows(s.Type, kind), "%s is %s, not %v", where, kind, s.Type)
	}
}

// allows reports whether a type, or a list of types, has one.
func allows(types any, kind string) bool {
	if list, ok := types.([]any); ok {
		for _, one := range list {
			if one == kind {
				return true
			}
		}
		return false
	}
	return types == kind
}
