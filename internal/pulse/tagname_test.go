package pulse_test

import (
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/pulse"
)

func TestTagsAreChangedByTheirIDsInOneCall(t *testing.T) {
	t.Parallel()
	var got []string
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		form, err := url.QueryUnescape(string(body))
		if err != nil {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		got = append(got, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")+" "+form)
		says(200, "")(w, r)
	})
	require.NoError(t, client.ApplyTags(t.Context(), "7", []string{"24", "74"}))
	require.NoError(t, client.RemoveTags(t.Context(), "7", []string{"5"}))
	require.NoError(t, client.ApplyTags(t.Context(), "7", nil))
	require.Equal(t, []string{
		"POST /api/v1/contacts/7/tag-apply application/x-www-form-urlencoded tag_id[]=24&tag_id[]=74",
		"POST /api/v1/contacts/7/untag application/x-www-form-urlencoded tag_id[]=5",
	}, got)
	require.Error(t, client.ApplyTags(t.Context(), "x/y", []string{"1"}))
}

func TestAMissingTagIsNotTakenForAMissingContact(t *testing.T) {
	t.Parallel()
	for body, missing := range map[string]bool{
		`{"error":"Contact not found"}`:                 true,
		`{"error":"Tag not found"}`:                     false,
		`{"message":"No query results for model"}`:      false,
		`{"error":"The given data was invalid.","x":1}`: false,
	} {
		err := setup(t, says(404, body)).ApplyTags(t.Context(), "7", []string{"24"})
		if missing {
			require.ErrorIs(t, err, pulse.ErrNotFound, body)
			continue
		}
		var rejected *pulse.Rejected
		require.ErrorAs(t, err, &rejected, body)
	}
}

func TestATagIsFoundByItsIDOrItsName(t *testing.T) {
	t.Parallel()
	tags := []pulse.Tag{{"1", "Member"}, {"2", "member "}, {"3", "Account created"}, {"4", "Twice"}, {"5", "Twice"}, {"6", "7"}, {"7", "Seven"}, {"8", "Käufer „A, B“"}}
	for given, want := range map[string]string{
		"1": "1", "Member": "1", "account CREATED": "3", "7": "7", "Seven": "7",
		"ka\u0308ufer „a, b“": "8",
	} {
		id, err := pulse.FindTag(tags, given)
		require.NoError(t, err, given)
		require.Equal(t, want, id, given)
	}
	for given, found := range map[string]int{"Nobody's": 0, "Twice": 2, "MEMBER": 2, "99": 0} {
		_, err := pulse.FindTag(tags, given)
		var none *pulse.NoSuchTag
		require.ErrorAs(t, err, &none, given)
		require.Equal(t, found, none.Found, given)
		require.Contains(t, err.Error(), given)
		_, waits := contact.AsOutage(err)
		require.True(t, waits, "the contact can't help it")
	}
}

func TestANamedTagIsLookedUpOnceOnAllPages(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	pages := paged("/api/v1/tags",
		`{"data":[{"id":24,"name":"Tag 24"}],"meta":{"last_page":2}}`, `{"data":[{"id":"74","name":"Account created"}],"meta":{"last_page":2}}`)
	client := setup(t, func(w http.ResponseWriter, r *http.Request) { calls.Add(1); pages(w, r) })
	tag := client.NamedTag(" Account created ")
	for range 3 {
		id, err := tag.ID(t.Context())
		require.NoError(t, err)
		require.Equal(t, "74", id)
	}
	require.EqualValues(t, 2, calls.Load())

	missing := client.NamedTag("Nobody's")
	for range 3 {
		_, err := missing.ID(t.Context())
		require.ErrorContains(t, err, `no tag "Nobody's"`)
	}
	require.EqualValues(t, 4, calls.Load(), "that there is none is remembered, too")

	id, err := client.NamedTag("99").ID(t.Context())
	require.NoError(t, err)
	require.Equal(t, "99", id)
	require.EqualValues(t, 4, calls.Load(), "an id needs no look")
}
