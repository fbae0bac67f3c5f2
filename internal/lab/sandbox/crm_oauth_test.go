package sandbox_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sandbox"
)

type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Expires int    `json:"expires_in"`
}

func startOAuth(t *testing.T, lifetime time.Duration) (*sandbox.CRM, *served) {
	t.Helper()
	crm, s := startCRM(t, sandbox.CRMOptions{OAuth: &sandbox.OAuthOptions{
		ClientID: "client", ClientSecret: "secret", RefreshToken: "seed", TokenLifetime: lifetime,
	}})
	crm.Put("1", nil, nil)
	return crm, s
}

func (s *served) refresh(secret, token string) response {
	s.Helper()
	return s.form(http.MethodPost, "/oauth/token", "grant_type", "refresh_token",
		"client_id", "client", "client_secret", secret, "refresh_token", token)
}

func TestRefreshTokensWorkOnce(t *testing.T) {
	t.Parallel()
	crm, s := startOAuth(t, 0)
	require.Equal(t, http.StatusUnauthorized, s.get("/api/v1/contacts/1").status, "without a token")
	require.Equal(t, http.StatusUnauthorized, s.refresh("wrong", "seed").status)

	var first, second pair
	s.into(s.refresh("secret", "seed"), &first)
	require.Equal(t, 3600, first.Expires)
	s.token = first.Access
	require.Equal(t, http.StatusOK, s.get("/api/v1/contacts/1").status)

	again := s.refresh("secret", "seed")
	require.Equal(t, http.StatusUnauthorized, again.status)
	require.Contains(t, again.body, "invalid_grant")

	s.into(s.refresh("secret", first.Refresh), &second)
	require.Equal(t, http.StatusUnauthorized, s.get("/api/v1/contacts/1").status, "the access token before it ends, too")
	s.token = second.Access
	require.Equal(t, http.StatusOK, s.get("/api/v1/contacts/1").status)
	require.EqualValues(t, 2, crm.Stats().Refreshes)
}

func TestAccessTokensExpire(t *testing.T) {
	t.Parallel()
	crm, s := startOAuth(t, 50*time.Millisecond)
	var got pair
	s.into(s.refresh("secret", "seed"), &got)
	s.token = got.Access
	require.Eventually(t, func() bool { return s.get("/api/v1/contacts/1").status == http.StatusUnauthorized }, patience, 5*time.Millisecond)
	require.Positive(t, crm.Stats().WrongToken)
}

func TestExpireTokensLeavesTheRefreshToken(t *testing.T) {
	t.Parallel()
	crm, s := startOAuth(t, 0)
	var got pair
	s.into(s.refresh("secret", "seed"), &got)
	s.token = got.Access
	crm.ExpireTokens()
	require.Equal(t, http.StatusUnauthorized, s.get("/api/v1/contacts/1").status)
	s.into(s.refresh("secret", got.Refresh), &got)
	s.token = got.Access
	require.Equal(t, http.StatusOK, s.get("/api/v1/contacts/1").status)
}
