package pulse_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/pulse"
	"spillway/internal/vault"
)

// account is a CRM with OAuth: contacts at /api/v1/, tokens at /oauth/token.
type account struct {
	server *httptest.Server

	mu        sync.Mutex
	access    string // accepted; empty: none is
	refresh   string // accepted
	refreshes int
	refusals  int
	// intercept answers a refresh in the account's place if it returns true.
	intercept func(http.ResponseWriter, *http.Request) bool
	// expires is what the answer says of the token's life, as JSON.
	expires string
}

func newAccount(t *testing.T) *account {
	t.Helper()
	a := &account{refresh: "seed-refresh-token", expires: "3600"}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", a.token)
	mux.HandleFunc("/api/v1/", a.api)
	a.server = httptest.NewServer(mux)
	t.Cleanup(a.server.Close)
	return a
}

func (a *account) token(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	intercept := a.intercept
	a.mu.Unlock()
	if intercept != nil && intercept(w, r) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.PostFormValue("grant_type") != "refresh_token" || r.PostFormValue("client_id") != "client" ||
		r.PostFormValue("client_secret") != "client-secret" || r.PostFormValue("refresh_token") != a.refresh {
		a.refusals++
		says(401, `{"error":"invalid_grant","error_description":"seed-refresh-token of ann@example.com"}`)(w, r)
		return
	}
	a.refreshes++
	a.access, a.refresh = fmt.Sprintf("access-token-%d", a.refreshes), fmt.Sprintf("refresh-token-%d", a.refreshes)
	says(200, fmt.Sprintf(`{"token_type":"Bearer","access_token":%q,"refresh_token":%q,"expires_in":%s}`, a.access, a.refresh, a.expires))(w, r)
}

func (a *account) api(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	valid := a.access != "" && r.Header.Get("Authorization") == "Bearer "+a.access
	a.mu.Unlock()
	if !valid {
		says(401, `{"message":"Unauthenticated."}`)(w, r)
		return
	}
	says(200, `{"id":7,"email":"a@example.com"}`)(w, r)
}

// expire ends the access token.
func (a *account) expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.access = ""
}

func (a *account) counts() (refreshes, refusals int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refreshes, a.refusals
}

func (a *account) intercepting(f func(http.ResponseWriter, *http.Request) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.intercept = f
}

// aged forgets that a token was issued just now.
func aged(t *testing.T, rdb *redis.Client) {
	t.Helper()
	require.NoError(t, rdb.Del(t.Context(), "spw:vault:oauth:fresh").Err())
}

func newVault(t *testing.T, rdb redis.UniversalClient, key byte) *vault.Vault {
	t.Helper()
	v, err := vault.New(rdb, bytes.Repeat([]byte{key}, vault.KeyLength), "spw:vault:")
	require.NoError(t, err)
	return v
}

// worker returns the tokens of one more process.
func worker(t *testing.T, a *account, rdb redis.UniversalClient, change ...func(*pulse.OAuthOptions)) *pulse.OAuth {
	t.Helper()
	o := pulse.OAuthOptions{
		ClientID: "client", ClientSecret: "client-secret", RefreshToken: "seed-refresh-token",
		TokenURL: a.server.URL + "/oauth/token", Vault: newVault(t, rdb, 'k'), Redis: rdb,
	}
	for _, f := range change {
		f(&o)
	}
	tokens, err := pulse.NewOAuth(o)
	require.NoError(t, err)
	return tokens
}

func clientOf(t *testing.T, a *account, tokens pulse.Tokens) *pulse.Client {
	t.Helper()
	client, err := pulse.New(pulse.Options{URL: a.server.URL, Tokens: tokens, Timeout: 30 * time.Second})
	require.NoError(t, err)
	return client
}
