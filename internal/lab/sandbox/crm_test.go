package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sandbox"
)

func TestListsComeInPages(t *testing.T) {
	t.Parallel()
	crm, s := startCRM(t, sandbox.CRMOptions{TagPageSize: 4})
	var all []int
	for tag := range 10 {
		all = append(all, tag+1)
	}
	crm.Put("7", nil, all)

	type answer struct {
		Data []struct {
			ID   any
			Name string
		}
		Meta struct {
			CurrentPage int `json:"current_page"`
			LastPage    int `json:"last_page"`
			Total       int
		}
	}
	var read []string
	for page, length := range map[int]int{1: 4, 2: 4, 3: 2, 4: 0} {
		var got answer
		s.into(s.get("/api/v1/contacts/7/tags?page="+strconv.Itoa(page)), &got)
		require.Len(t, got.Data, length, "page %d", page)
		require.Equal(t, page, got.Meta.CurrentPage)
		require.Equal(t, 3, got.Meta.LastPage)
		require.Equal(t, 10, got.Meta.Total)
		for _, tag := range got.Data {
			require.Equal(t, fmt.Sprintf("Tag %v", tag.ID), tag.Name)
			read = append(read, fmt.Sprint(tag.ID))
		}
	}
	require.ElementsMatch(t, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}, read)

	var first, allTags answer
	s.into(s.get("/api/v1/contacts/7/tags"), &first)
	require.Equal(t, 1, first.Meta.CurrentPage)
	s.into(s.get("/api/v1/tags"), &allTags)
	require.Equal(t, 10, allTags.Meta.Total)
	require.Equal(t, "1", allTags.Data[0].ID, "an odd id is a text")
	require.Equal(t, json.Number("2"), allTags.Data[1].ID, "an even id is a number")

	crm.Put("8", nil, []int{})
	var none answer
	s.into(s.get("/api/v1/contacts/8/tags"), &none)
	require.NotNil(t, none.Data)
	require.Empty(t, none.Data)
	require.Equal(t, 1, none.Meta.LastPage)
}

func TestContactIsAFlatRecord(t *testing.T) {
	t.Parallel()
	crm, s := startCRM(t, sandbox.CRMOptions{})
	crm.Put("12", map[string]any{"email": "a@example.com", "address_1.country_name": "Norway", "middle_name": nil}, nil)
	record := s.object(s.get("/api/v1/contacts/12"))
	require.Equal(t, json.Number("12"), record["id"])
	require.Equal(t, "Norway", record["address_1.country_name"])
	require.Contains(t, record, "middle_name")
	require.Nil(t, record["middle_name"])
	require.Equal(t, json.Number("1"), record["version"])

	crm.Put("12", map[string]any{"first_name": "Ann"}, nil)
	record = s.object(s.get("/api/v1/contacts/12"))
	require.Equal(t, json.Number("2"), record["version"], "each change counts")
	require.Equal(t, "a@example.com", record["email"], "other fields stay")
}

func TestUnknownContactIsAnsweredAsTheCRMDoes(t *testing.T) {
	t.Parallel()
	_, s := startCRM(t, sandbox.CRMOptions{})
	for _, answer := range []response{
		s.get("/api/v1/contacts/5"), s.get("/api/v1/contacts/5/tags"),
		s.form(http.MethodPut, "/api/v1/contacts/5", "a", "b"),
		s.form(http.MethodPost, "/api/v1/contact/find/", "email", "nobody@example.com"),
		s.form(http.MethodPost, "/api/v1/contacts/5/untag", "tag_id[]", "1"),
	} {
		require.Equal(t, http.StatusNotFound, answer.status)
		require.JSONEq(t, `{"error":"Contact not found"}`, answer.body)
	}
}

func TestUpdateTakesFormsAndJSON(t *testing.T) {
	t.Parallel()
	crm, s := startCRM(t, sandbox.CRMOptions{})
	crm.Put("1", map[string]any{"email": "a@example.com"}, nil)
	s.into(s.form(http.MethodPut, "/api/v1/contacts/1", "any custom", "x y", "address_1.city", "Oslo", "id", "9"), new(any))
	s.into(s.json(http.MethodPut, "/api/v1/contacts/1", map[string]any{"address_1.city": "Bergen", "n": 5}), new(any))

	fields, ok := crm.Contact("1")
	require.True(t, ok)
	require.Equal(t, "x y", fields["any_custom"], "PHP turns spaces in a form's names into underscores")
	require.Equal(t, "Oslo", fields["address_1_city"], "and dots")
	require.Equal(t, "Bergen", fields["address_1.city"], "JSON keeps them")
	require.Equal(t, 1, fields["version"], "the API's changes do not count")
	require.Equal(t, []map[string]string{
		{"any_custom": "x y", "address_1_city": "Oslo", "id": "9"},
		{"address_1.city": "Bergen", "n": "5"},
	}, crm.Updates("1"), "newest last")
	require.Equal(t, 1, crm.Received("n"))
	require.Zero(t, crm.Received("m"))
	require.NotEqual(t, http.StatusOK, s.call(http.MethodPut, "/api/v1/contacts/1", "application/json", "{").status)
}

func TestFindNeedsTheSlash(t *testing.T) {
	t.Parallel()
	crm, s := startCRM(t, sandbox.CRMOptions{})
	crm.Put("3", map[string]any{"email": "Ann@example.com"}, nil)
	record := s.object(s.form(http.MethodPost, "/api/v1/contact/find/", "email", "ann@Example.com"))
	require.Equal(t, "3", record["id"])
	answer := s.form(http.MethodPost, "/api/v1/contact/find", "email", "ann@example.com")
	require.Equal(t, http.StatusNotFound, answer.status)

	crm.Put("3", map[string]any{"email": "other@example.com"}, nil)
	require.Equal(t, http.StatusNotFound, s.form(http.MethodPost, "/api/v1/contact/find/", "email", "ann@example.com").status)
}

func TestTagsCanBeChangedAndSearched(t *testing.T) {
	t.Parallel()
	crm, s := startCRM(t, sandbox.CRMOptions{})
	for _, id := range []string{"10", "9"} {
		crm.Put(id, nil, []int{1})
	}
	s.into(s.form(http.MethodPost, "/api/v1/contacts/9/tag-apply", "tag_id[]", "24", "tag_id[]", "74"), new(any))
	require.Equal(t, []int{1, 24, 74}, crm.Tags("9"))
	s.into(s.json(http.MethodPost, "/api/v1/contacts/9/untag", map[string]any{"tag_id": []any{"24"}}), new(any))
	require.Equal(t, []int{1, 74}, crm.Tags("9"))

	for path, want := range map[string][]string{
		"?tag_id=1": {"9", "10"}, "?tag_id=74": {"9"}, "?tag_name=Tag+74": {"9"}, "?tag_id=24": {},
	} {
		var got struct{ Data []struct{ ID any } }
		s.into(s.get("/api/v1/contacts/tagged/"+path), &got)
		ids := []string{}
		for _, record := range got.Data {
			ids = append(ids, fmt.Sprint(record.ID))
		}
		require.Equal(t, want, ids, path)
	}
}

func TestFieldsLeaveReadableCountriesOut(t *testing.T) {
	t.Parallel()
	crm, s := startCRM(t, sandbox.CRMOptions{})
	crm.Seed(3)
	var got struct {
		Data map[string]struct{ Label string }
	}
	s.into(s.get("/api/v1/contact/available-fields"), &got)
	require.Equal(t, "Email", got.Data["email"].Label)
	require.Contains(t, got.Data, "address_1.country")
	require.NotContains(t, got.Data, "address_1.country_name")
}

func TestSeededContactsAreTheSameEveryTime(t *testing.T) {
	t.Parallel()
	one, two := sandbox.NewCRM(sandbox.CRMOptions{}), sandbox.NewCRM(sandbox.CRMOptions{})
	one.Seed(30)
	two.Put("4", map[string]any{"first_name": "Kept"}, nil)
	two.Seed(30)
	require.Len(t, one.IDs(), 30)
	require.Equal(t, []string{"1", "2", "3"}, one.IDs()[:3])
	for _, id := range one.IDs() {
		expected, _ := one.Contact(id)
		got, _ := two.Contact(id)
		if id == "4" {
			require.Equal(t, "Kept", got["first_name"], "contacts that exist are left alone")
			continue
		}
		require.Equal(t, expected, got)
		require.Equal(t, one.Tags(id), two.Tags(id))
		require.Regexp(t, `^contact\d+@example\.(com|org)$`, got["email"])
	}
}

func TestWrongTokenGets401(t *testing.T) {
	t.Parallel()
	crm, s := startCRM(t, sandbox.CRMOptions{Token: "right"})
	crm.Put("1", nil, nil)
	require.Equal(t, http.StatusOK, s.get("/api/v1/contacts/1").status)
	for _, token := range []string{"", "wrong"} {
		s.token = token
		require.Equal(t, http.StatusUnauthorized, s.get("/api/v1/contacts/1").status)
	}
	require.EqualValues(t, 2, crm.Stats().WrongToken)
}

func TestCallsOverTheRateGet429(t *testing.T) {
	t.Parallel()
	crm, s := startCRM(t, sandbox.CRMOptions{RatePerSecond: 0.01})
	crm.Put("1", nil, nil)
	require.Equal(t, http.StatusOK, s.get("/api/v1/contacts/1").status)
	answer := s.get("/api/v1/contacts/1")
	require.Equal(t, http.StatusTooManyRequests, answer.status)
	after, err := strconv.Atoi(answer.header.Get("Retry-After"))
	require.NoError(t, err)
	require.InDelta(t, 100, after, 10)
	require.EqualValues(t, 1, crm.Stats().Limited)
}

func TestOverlappingReadsOfOneContactAreCounted(t *testing.T) {
	t.Parallel()
	crm, s := startCRM(t, sandbox.CRMOptions{Latency: time.Hour})
	crm.Put("1", nil, nil)
	crm.Put("2", nil, nil)
	ctx, giveUp := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	begin := func(path string, calls int64) {
		callers.Go(func() { _, _ = s.try(ctx, http.MethodGet, path, "", "") })
		require.Eventually(t, func() bool { return crm.Stats().InFlight == calls }, patience, time.Millisecond)
	}
	begin("/api/v1/contacts/1", 1)
	begin("/api/v1/contacts/2", 2)
	begin("/api/v1/contacts/1/tags", 3) // a pass may read both at once
	require.Zero(t, crm.Stats().Overlaps)
	begin("/api/v1/contacts/1", 4)
	require.EqualValues(t, 1, crm.Stats().Overlaps)
	require.EqualValues(t, 4, crm.Stats().AtOnce)
	giveUp()
	callers.Wait()
	require.Eventually(t, func() bool { return crm.Stats().InFlight == 0 }, patience, time.Millisecond)
}
