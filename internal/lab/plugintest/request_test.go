package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sitetest"
	"spillway/internal/lab/wptest"
)

// change is a contact of a request as it goes over the wire.
type change map[string]any

// answer is what the site says of one contact.
type answer struct {
	ContactID string   `json:"contact_id"`
	Outcome   string   `json:"outcome"`
	UserID    int64    `json:"user_id"`
	UserLogin string   `json:"user_login"`
	Role      string   `json:"role"`
	Notes     []string `json:"notes"`
	Applied   []string `json:"applied_tags"`
	Removed   []string `json:"removed_tags"`
	Error     struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		Permanent bool   `json:"permanent"`
	} `json:"error"`
}

// reply is the site's answer to a request.
type reply struct {
	status  int
	body    string
	err     error
	answers []answer
}

// email is the address of a contact that tests name by its id.
func email(id int) string { return fmt.Sprintf("c%d@example.com", id) }

// add creates or updates the user of a contact.
func add(id int, fields change) change {
	return change{"contact_id": strconv.Itoa(id), "action": "add", "email": email(id), "fields": fields}
}

// update updates the user of a contact.
func update(id int, fields change) change {
	return change{"contact_id": strconv.Itoa(id), "action": "update", "fields": fields}
}

// request sends contacts as a user. It fails no test, so it may run in any
// goroutine.
func request(site *wptest.Site, user, password, path string, contacts ...change) reply {
	return requestUntil(context.Background(), site, user, password, path, contacts...)
}

// requestUntil gives up when ctx ends.
func requestUntil(ctx context.Context, site *wptest.Site, user, password, path string, contacts ...change) reply {
	body, err := json.Marshal(map[string]any{
		"roles_allowed": []string{"subscriber", "customer"}, "default_role": "", "contacts": contacts,
	})
	if err != nil {
		return reply{err: err}
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, site.URL()+path, bytes.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	post.Header.Set("Content-Type", "application/json")
	post.SetBasicAuth(user, password)
	response, err := (&http.Client{Timeout: time.Minute}).Do(post)
	if err != nil {
		return reply{err: err}
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	got := reply{status: response.StatusCode, body: string(content), err: err}
	var decoded struct{ Results []answer }
	if json.Unmarshal(content, &decoded) == nil {
		got.answers = decoded.Results
	}
	return got
}

const (
	contactsPath = "/wp-json/spillway/v1/contacts"
	statusPath   = "/wp-json/spillway/v1/status"
)

// call sends any request as a user; an empty user sends no password.
func call(t *testing.T, site *wptest.Site, method, path, user, password, body string) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, site.URL()+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	if user != "" {
		request.SetBasicAuth(user, password)
	}
	response, err := (&http.Client{Timeout: time.Minute}).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(content)
}

// sendLater sends contacts with the rights that Spillway has, from another
// goroutine, and returns where the reply will come.
func sendLater(site *wptest.Site, contacts ...change) <-chan reply {
	user, password := site.Credentials()
	done := make(chan reply, 1)
	go func() { done <- request(site, user, password, contactsPath, contacts...) }()
	return done
}

// send sends contacts and returns the answers, one for each.
func send(t *testing.T, site *wptest.Site, contacts ...change) []answer {
	t.Helper()
	return receive(t, sendLater(site, contacts...), len(contacts))
}

func receive(t *testing.T, done <-chan reply, contacts int) []answer {
	t.Helper()
	got := <-done
	require.NoError(t, got.err)
	require.Equal(t, http.StatusOK, got.status, got.body)
	require.Len(t, got.answers, contacts, got.body)
	return got.answers
}

// expect sends one contact that must have an outcome.
func expect(t *testing.T, site *wptest.Site, outcome string, contact change) answer {
	t.Helper()
	got := send(t, site, contact)[0]
	require.Equal(t, outcome, got.Outcome, "%+v", got)
	return got
}

// users makes users for contacts with the ids from first on.
func users(t *testing.T, site *wptest.Site, first, count int) {
	t.Helper()
	for id := first; id < first+count; id++ {
		site.CreateUser(sitetest.NewUser{
			Login: fmt.Sprintf("user%d", id), Email: email(id), Password: "old-Pass-1", Role: "subscriber", ContactID: strconv.Itoa(id),
		})
	}
}

// meta is a value of the only user with a contact id.
func meta(t *testing.T, site *wptest.Site, id int, key string) any {
	t.Helper()
	found := site.UsersByContact(strconv.Itoa(id))
	require.Len(t, found, 1, "users of contact %d", id)
	return found[0].Meta[key]
}

// requireClean checks that the plugin caused no warning of PHP.
func requireClean(t *testing.T, site *wptest.Site) {
	t.Helper()
	for line := range strings.SplitSeq(site.Log(), "\n") {
		require.NotContains(t, line, "spillway-connector/includes", "PHP's log")
	}
}
