package site_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/site"
)

func TestAllUsersAreListedPageByPage(t *testing.T) {
	t.Parallel()
	stand, url := standIn(t)
	c := client(t, url, nil)
	_, errs := storeAll(t.Context(), c, upTo(60)...)
	for _, err := range errs {
		require.NoError(t, err)
	}
	seen := map[string]int{}
	pages := 0
	for after, more := int64(0), true; more; pages++ {
		var err error
		after, more, err = c.Users(t.Context(), after, func(user site.Listed) error {
			seen[user.ContactID]++
			require.Equal(t, []string{"1"}, user.Tags)
			return nil
		})
		require.NoError(t, err)
	}
	require.Len(t, seen, 60)
	require.Equal(t, 1, pages)
	for _, times := range seen {
		require.Equal(t, 1, times)
	}
	users, err := c.UsersOf(t.Context(), []string{"7", "9999"})
	require.NoError(t, err)
	require.Len(t, users, 1)
	require.Equal(t, stand.UsersByContact("7")[0].ID, users[0].UserID)
}

// lister answers pages of a site with users 1 to n.
func lister(t *testing.T, n int, answer func(w http.ResponseWriter, limit int) bool) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		after, _ := strconv.Atoi(r.URL.Query().Get("after"))
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		if answer != nil && answer(w, limit) {
			return
		}
		users := []site.Listed{}
		for id := after + 1; id <= min(after+limit, n); id++ {
			users = append(users, site.Listed{UserID: int64(id), ContactID: strconv.Itoa(id), Tags: []string{}})
		}
		body := map[string]any{"users": users, "next": nil}
		if after+limit < n {
			body["next"] = after + limit
		}
		_ = json.NewEncoder(w).Encode(body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestPageThatIsTooLargeIsAskedForInParts(t *testing.T) {
	t.Parallel()
	var limits []int
	url := lister(t, 100, func(w http.ResponseWriter, limit int) bool {
		limits = append(limits, limit)
		if limit > 62 {
			_, _ = w.Write([]byte(strings.Repeat(" ", 9<<20)))
		}
		return limit > 62
	})
	n := 0
	next, more, err := client(t, url, nil).Users(t.Context(), 0, func(site.Listed) error { n++; return nil })
	require.NoError(t, err)
	require.True(t, more)
	require.EqualValues(t, 62, next)
	require.Equal(t, 62, n)
	require.Equal(t, []int{1000, 250, 62}, limits)
}

func TestListingEndsWithACause(t *testing.T) {
	t.Parallel()
	read := func(answer func(w http.ResponseWriter, limit int) bool) error {
		_, more, err := client(t, lister(t, 10, answer), nil).Users(t.Context(), 0, func(site.Listed) error { return nil })
		require.Error(t, err)
		require.True(t, more, "what was not read is not the end")
		return err
	}
	old := read(func(w http.ResponseWriter, _ int) bool {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"code":"rest_no_route","message":"No route was found matching the URL and request method."}`))
		return true
	})
	require.ErrorIs(t, old, site.ErrNoListing)
	for name, body := range map[string]string{
		"a page": "<html>", "no list": `{"users":null,"next":null}`, "no progress": `{"users":[],"next":0}`,
	} {
		err := read(func(w http.ResponseWriter, _ int) bool {
			_, _ = w.Write([]byte(body))
			return true
		})
		_, isOutage := contact.AsOutage(err)
		require.True(t, isOutage, "%s: %v", name, err)
	}
	stop := errors.New("enough")
	_, _, err := client(t, lister(t, 10, nil), nil).Users(t.Context(), 0, func(site.Listed) error { return stop })
	require.ErrorIs(t, err, stop)
}
