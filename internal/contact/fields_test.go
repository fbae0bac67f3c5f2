package contact_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
)

func TestOnlyATextIsSplitAtCommas(t *testing.T) {
	t.Parallel()

	fields, err := contact.ParseFieldMap("topics=topics:multiselect")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		record string
		want   any
	}{
		"a list":                  {`["One","One, two and three"]`, []string{"One", "One, two and three"}},
		"a list of one":           {`["a, b"]`, []string{"a, b"}},
		"a list with blanks":      {`[" a ","b,"]`, []string{" a ", "b,"}},
		"a list of numbers":       {`[1,2.50,true,false]`, []string{"1", "2.50", "1", "0"}},
		"a list with empty ones":  {`["a","",null,"b"]`, []string{"a", "b"}},
		"a list of lists":         {`[["a, b"],["c"]]`, []string{"a, b", "c"}},
		"a text":                  {`"One, two and three"`, []string{"One", "two and three"}},
		"a text with empty ones":  {`", a,,b ,"`, []string{"a", "b"}},
		"a text without commas":   {`"a"`, []string{"a"}},
		"a number":                {`7`, []string{"7"}},
		"a text of commas":        {`" , ,"`, nil},
		"an empty list":           {`[]`, nil},
		"an empty text":           {`""`, nil},
		"nothing":                 {`null`, nil},
		"an object means nothing": {`{"a":"b"}`, nil},
		"objects in a list, too":  {`[{"a":"b"},"c, d"]`, []string{"c, d"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var record map[string]any
			decoder := json.NewDecoder(strings.NewReader(`{"topics":` + c.record + `}`))
			decoder.UseNumber()
			require.NoError(t, decoder.Decode(&record))
			values, raw := fields.Values(record)
			require.Empty(t, raw)
			if c.want == nil {
				require.NotContains(t, values, "topics")
				return
			}
			require.Equal(t, c.want, values["topics"])
		})
	}
}

func TestARawFieldIsAsTheCRMHasIt(t *testing.T) {
	t.Parallel()
	fields, err := contact.ParseFieldMap("kept=r:raw")
	require.NoError(t, err)
	for record, want := range map[string]any{
		`{"r":""}`: "", `{"r":null}`: "", `{"r":[]}`: []string{}, `{"r":false}`: "0", `{"r":" a, b "}`: " a, b ", `{"r":["a",1]}`: []string{"a", "1"},
		`{}`: nil, `{"r":{"a":"b"}}`: nil, `{"r":{}}`: nil, // an object must not empty the site's field
	} {
		var read map[string]any
		decoder := json.NewDecoder(strings.NewReader(record))
		decoder.UseNumber()
		require.NoError(t, decoder.Decode(&read))
		values, raw := fields.Values(read)
		if want == nil {
			require.Empty(t, values, record)
			require.Empty(t, raw, record)
			continue
		}
		require.Equal(t, map[string]any{"kept": want}, values, record)
		require.Equal(t, []string{"kept"}, raw, record)
	}
}
