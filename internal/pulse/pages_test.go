package pulse_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/pulse"
)

// paged answers page N with the Nth body.
func paged(path string, bodies ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		page, err := strconv.Atoi(r.URL.Query().Get("page"))
		if r.URL.Path != path || err != nil || page < 1 || page > len(bodies) {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		says(200, bodies[page-1])(w, r)
	}
}

func TestAllPagesOfTagsAreReadInOrderEachTagOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pages []string
		want  []string
	}{
		"three pages": {[]string{
			`{"data":[{"id":24,"name":"Tag 24"},{"id":3}],"meta":{"current_page":1,"last_page":3}}`,
			`{"data":[{"id":"74"},{"id":24}],"meta":{"last_page":"3"}}`,
			`{"data":[{"id":1}],"meta":{"last_page":3}}`,
		}, []string{"24", "3", "74", "1"}},
		"no meta":      {[]string{`{"data":[{"id":24}]}`}, []string{"24"}},
		"null meta":    {[]string{`{"data":[{"id":24}],"meta":null}`}, []string{"24"}},
		"empty meta":   {[]string{`{"data":[{"id":24}],"meta":[]}`}, []string{"24"}},
		"null last":    {[]string{`{"data":[{"id":24}],"meta":{"last_page":null}}`}, []string{"24"}},
		"meta outside": {[]string{`{"data":[{"id":1}],"last_page":2}`, `{"data":[{"id":2}],"last_page":2}`}, []string{"1", "2"}},
		"shrinking": {[]string{
			`{"data":[{"id":1}],"meta":{"last_page":3}}`,
			`{"data":[{"id":2}],"meta":{"last_page":1}}`,
		}, []string{"1", "2"}},
		"growing": {[]string{
			`{"data":[{"id":1}],"meta":{"last_page":1}}`,
		}, []string{"1"}},
		"an empty page between": {[]string{
			`{"data":[],"meta":{"last_page":2}}`,
			`{"data":[{"id":2}],"meta":{"last_page":2}}`,
		}, []string{"2"}},
		"no tags":    {[]string{`{"data":[],"meta":{"last_page":1}}`}, []string{}},
		"page zero":  {[]string{`{"data":[],"meta":{"last_page":0}}`}, []string{}},
		"nulls":      {[]string{`{"data":[null,{"id":null},{"id":5}]}`}, []string{"5"}},
		"plain ids":  {[]string{`{"data":[5,"6"]}`}, []string{"5", "6"}},
		"large ids":  {[]string{`{"data":[{"id":9007199254740993}]}`}, []string{"9007199254740993"}},
		"extra data": {[]string{`{"data":[{"id":5,"pivot":{"x":[1]}}],"links":{"next":null},"error":null}`}, []string{"5"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tags, err := setup(t, paged("/api/v1/contacts/7/tags", c.pages...)).Tags(t.Context(), "7")
			require.NoError(t, err)
			require.Equal(t, c.want, tags)
		})
	}
}

func TestUnclearTagsAreAnErrorAndNeverAnEmptyList(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"no data":        `{"meta":{"last_page":1}}`,
		"null data":      `{"data":null}`,
		"an object":      `{"data":{"0":{"id":5}}}`,
		"no id":          `{"data":[{"name":"Ann's tag"}]}`,
		"an odd id":      `{"data":[{"id":[1]}]}`,
		"an empty id":    `{"data":[{"id":""}]}`,
		"odd paging":     `{"data":[{"id":5}],"meta":{"last_page":"many"}}`,
		"half a page":    `{"data":[{"id":5}],"meta":{"last_page":1.5}}`,
		"too many pages": `{"data":[{"id":5}],"meta":{"last_page":1001}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tags, err := setup(t, says(200, body)).Tags(t.Context(), "7")
			var rejected *pulse.Rejected
			require.ErrorAs(t, err, &rejected)
			require.Nil(t, tags)
			require.NotContains(t, err.Error(), "Ann")
		})
	}
}

func TestALaterPageThatFailsFailsTheList(t *testing.T) {
	t.Parallel()
	for status, outage := range map[int]bool{500: true, 429: true, 400: false} {
		client := setup(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("page") == "1" {
				says(200, `{"data":[{"id":1}],"meta":{"last_page":2}}`)(w, r)
				return
			}
			w.WriteHeader(status)
		})
		tags, err := client.Tags(t.Context(), "7")
		require.Error(t, err)
		require.Nil(t, tags)
		_, isOutage := contact.AsOutage(err)
		require.Equal(t, outage, isOutage)
	}
}

func TestAListThatKeepsGrowingEnds(t *testing.T) {
	t.Parallel()
	var page atomic.Int32
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		n := page.Add(1)
		says(200, fmt.Sprintf(`{"data":[{"id":%d}],"meta":{"last_page":%d}}`, n, n+1))(w, r)
	})
	_, err := client.Tags(t.Context(), "7")
	require.ErrorContains(t, err, "more than 1000 pages")
	require.Equal(t, int32(1000), page.Load())
}

func TestTaggedContactsAreReadPageByPageFromAnyPageOn(t *testing.T) {
	t.Parallel()
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("tag_id") != "2 4" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		paged("/api/v1/contacts/tagged/",
			`{"data":[{"id":1,"email":"a@example.com"},{"id":2}],"meta":{"last_page":2,"total":4}}`,
			`{"data":[{"id":2},null,{"id":"3"}],"meta":{"last_page":2,"total":"4"}}`)(w, r)
	})
	first := pulse.TaggedPage{Page: 1, Last: 2, Total: 4, IDs: []string{"1", "2"}}
	second := pulse.TaggedPage{Page: 2, Last: 2, Total: 4, IDs: []string{"2", "3"}}
	for from, want := range map[int][]pulse.TaggedPage{0: {first, second}, 1: {first, second}, 2: {second}} {
		var pages []pulse.TaggedPage
		require.NoError(t, client.Tagged(t.Context(), "2 4", from, func(page pulse.TaggedPage) error {
			pages = append(pages, page)
			return nil
		}))
		require.Equal(t, want, pages)
	}
	enough := errors.New("enough")
	require.Equal(t, enough, client.Tagged(t.Context(), "2 4", 1, func(pulse.TaggedPage) error { return enough }))
}

func TestAllTagsHaveTheirNames(t *testing.T) {
	t.Parallel()
	client := setup(t, paged("/api/v1/tags",
		`{"data":[{"id":24,"name":"Customer"}],"meta":{"last_page":2}}`,
		`{"data":[{"id":25,"name":null}],"meta":{"last_page":2}}`))
	tags, err := client.AllTags(t.Context())
	require.NoError(t, err)
	require.Equal(t, []pulse.Tag{{ID: "24", Name: "Customer"}, {ID: "25"}}, tags)

	_, err = setup(t, says(404, `{"error":"Not found"}`)).AllTags(t.Context())
	require.NotErrorIs(t, err, pulse.ErrNotFound, "only a contact can be missing")
	require.ErrorContains(t, err, "not found")
}

func TestFieldsAreNamedAsRecordsNameThem(t *testing.T) {
	t.Parallel()
	client := setup(t, says(200, `{"data":{"email":{"label":"Email"},"address_1.country":{"label":"Country"},"address_1.country_code":{"label":"Code"},"wp":null}}`))
	fields, err := client.Fields(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"email": "Email", "address_1.country_name": "Country", "address_1.country_code": "Code", "wp": "wp",
	}, fields)

	fields, err = setup(t, says(200, `{"data":[]}`)).Fields(t.Context())
	require.NoError(t, err)
	require.Empty(t, fields)
	for _, body := range []string{`{}`, `{"data":[1]}`, `{"data":"x"}`, `[]`} {
		_, err = setup(t, says(200, body)).Fields(t.Context())
		require.Error(t, err, body)
	}
}
