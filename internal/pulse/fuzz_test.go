package pulse_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/pulse"
)

// planted stands for what a CRM may quote in any answer: a token or personal
// data. The fuzzer keeps it inside of texts.
const planted = "pl4nted"

// answers is a transport that answers every request alike, over no network.
type answers struct {
	status     int
	kind       string
	retryAfter string
	body       string
	requests   int
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	a.requests++
	if len(r.URL.Query().Get("page")) > 1 {
		return nil, io.EOF // ten pages are enough
	}
	header := http.Header{}
	header.Set("Content-Type", a.kind)
	header.Set("Retry-After", a.retryAfter)
	return &http.Response{
		StatusCode: a.status, Header: header, Request: r,
		Body: io.NopCloser(bytes.NewReader([]byte(a.body))),
	}, nil
}

func status(fuzzed uint16) int { return 200 + int(fuzzed)%400 }

// FuzzAnswers holds any answer of the CRM against what the package guarantees:
// an error is an outage, a refusal or a rejection, shows nothing of the answer
// and asks for a bounded pause; a record is of the contact that was asked for;
// a list of tags is whole and names each tag once.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []struct {
		status                 uint16
		kind, retryAfter, body string
	}{
		{0, "application/json", "", `{"id":7,"email":"pl4nted@example.com"}`},
		{0, "application/json", "", `{"data":{"id":"7","email":null}}`},
		{0, "application/json", "", `{"data":[{"id":24},{"id":"74"},null],"meta":{"last_page":2}}`},
		{0, "application/json", "", `{"data":[],"meta":[],"last_page":"1"}`},
		{0, "application/json", "", `{"data":{"email":{"label":"Email"},"address_1.country":null}}`},
		{0, "", "", "\xef\xbb\xbf" + `{"error":{"message":"pl4nted"},"success":false}`},
		{204, "", "", ""},
		{102, "text/html", "", "<html>pl4nted</html>"},
		{201, "", "", `{"message":"Unauthenticated."}`},
		{204, "application/json", "", `{"error":"Contact not found."}`},
		{222, "", "", `{"message":"The given data was invalid.","errors":{"email":["pl4nted"]}}`},
		{229, "", "1e300", ""},
		{303, "", "Thu, 01 Jan 2099 00:00:00 GMT", "pl4nted"},
	} {
		f.Add(seed.status, seed.kind, seed.retryAfter, seed.body)
	}
	f.Fuzz(func(t *testing.T, fuzzed uint16, kind, retryAfter, body string) {
		crm := &answers{status: status(fuzzed), kind: kind, retryAfter: retryAfter, body: body}
		client, err := pulse.New(pulse.Options{URL: "https://crm.test", Tokens: pulse.Fixed(token), HTTP: &http.Client{Transport: crm}})
		require.NoError(t, err)

		record, err := client.Contact(t.Context(), "7")
		requireKind(t, err)
		if err == nil {
			require.NotNil(t, record)
			if id := contact.TextOf(record, "id"); id != "" {
				require.Equal(t, "7", id)
			}
		}
		tags, err := client.Tags(t.Context(), "7")
		requireKind(t, err)
		require.Equal(t, err == nil, tags != nil)
		seen := map[string]bool{}
		for _, tag := range tags {
			require.NotEmpty(t, tag)
			require.False(t, seen[tag], "tag %q twice", tag)
			seen[tag] = true
		}
		requireKind(t, client.Update(t.Context(), "7", map[string]string{"wp_password": planted}))
		fields, err := client.Fields(t.Context())
		requireKind(t, err)
		require.Equal(t, err == nil, fields != nil)
	})
}

// requireKind requires that an error is of a kind that callers know, and fit
// for a log.
func requireKind(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	outage, isOutage := contact.AsOutage(err)
	_, isRefusal := contact.AsRefusal(err)
	var rejected *pulse.Rejected
	require.True(t, isOutage || isRefusal || errors.As(err, &rejected), "%T: %v", err, err)
	require.False(t, isOutage && isRefusal)
	if isOutage {
		require.GreaterOrEqual(t, outage.Outage(), time.Duration(0))
		require.LessOrEqual(t, outage.Outage(), time.Hour)
	}
	require.NotContains(t, err.Error(), planted)
	require.NotContains(t, err.Error(), token)
	require.NotContains(t, err.Error(), "\n")
}

// memory is a vault for many short chains of tokens.
type memory struct {
	mu      sync.Mutex
	entries map[string][]byte
}

func (m *memory) Open(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if plain, ok := m.entries[name]; ok {
		return plain, nil
	}
	return nil, errors.New("no entry")
}

func (m *memory) Seal(_ context.Context, name string, plain []byte, _ time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries[name] = bytes.Clone(plain)
	return nil
}

// FuzzTokenAnswers holds any answer to a refresh against what [pulse.OAuth]
// guarantees: it gives the token that was answered or an outage that shows
// nothing, and a refused refresh token is not presented a second time.
func FuzzTokenAnswers(f *testing.F) {
	for _, seed := range []struct {
		status uint16
		body   string
	}{
		{0, `{"access_token":"pl4nted-a","refresh_token":"pl4nted-r","expires_in":3600}`},
		{0, `{"access_token":"pl4nted-a","expires_in":"1e300","error":null}`},
		{0, `{"access_token":"","refresh_token":["pl4nted"]}`},
		{0, `{"error":"invalid_grant","error_description":"pl4nted"}`},
		{201, `{"error":"pl4nted"}`},
		{102, ``},
		{229, `<html>`},
		{300, ``},
		{0, `[]`},
	} {
		f.Add(seed.status, seed.body)
	}
	server := redistest.Start(f)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	f.Cleanup(func() { _ = rdb.Close() })
	f.Fuzz(func(t *testing.T, fuzzed uint16, body string) {
		crm := &answers{status: status(fuzzed), body: body}
		tokens, err := pulse.NewOAuth(pulse.OAuthOptions{
			ClientID: "client", ClientSecret: planted, RefreshToken: planted, TokenURL: "https://portal.test/oauth/token",
			Vault: &memory{entries: map[string][]byte{}}, Redis: rdb, HTTP: &http.Client{Transport: crm},
		})
		require.NoError(t, err)
		access, err := tokens.Token(t.Context())
		if err == nil {
			require.NotEmpty(t, access)
			require.Equal(t, 1, crm.requests)
			return
		}
		requireKind(t, err)
		_, isOutage := contact.AsOutage(err)
		require.True(t, isOutage, "%v", err)
		_, err = tokens.Token(t.Context())
		require.Error(t, err)
		if crm.status == http.StatusUnauthorized || crm.status == http.StatusBadRequest {
			require.Equal(t, 1, crm.requests, "a refused token is presented again")
		}
	})
}
