package sandbox

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// OAuthOptions say which client may refresh tokens, and with what it begins.
type OAuthOptions struct {
	ClientID, ClientSecret string
	// RefreshToken works once; the answer holds the next one.
	RefreshToken string
	// TokenLifetime is how long an access token works; 0 stands for an hour.
	TokenLifetime time.Duration
}

// oauth gives out access tokens. A refresh makes the refresh token and the
// access token before it worthless, as the CRM's does.
type oauth struct {
	options OAuthOptions

	mu      sync.Mutex
	refresh string
	access  string
	expires time.Time
}

func newOAuth(options OAuthOptions) *oauth {
	if options.TokenLifetime <= 0 {
		options.TokenLifetime = time.Hour
	}
	return &oauth{options: options, refresh: options.RefreshToken}
}

func (o *oauth) valid(access string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.access != "" && access == o.access && now.Before(o.expires)
}

// exchange trades a refresh token for a new pair.
func (o *oauth) exchange(form url.Values, now time.Time) answer {
	o.mu.Lock()
	defer o.mu.Unlock()
	fail := func(status int, code, message string) answer {
		return reply(status, map[string]string{"error": code, "error_description": message, "message": message})
	}
	switch {
	case form.Get("grant_type") != "refresh_token":
		return fail(http.StatusBadRequest, "unsupported_grant_type", "The authorization grant type is not supported by the authorization server.")
	case form.Get("client_id") != o.options.ClientID || form.Get("client_secret") != o.options.ClientSecret:
		return fail(http.StatusUnauthorized, "invalid_client", "Client authentication failed")
	case o.refresh == "" || form.Get("refresh_token") != o.refresh:
		return fail(http.StatusUnauthorized, "invalid_grant", "The refresh token is invalid.")
	}
	o.access, o.refresh, o.expires = rand.Text(), rand.Text(), now.Add(o.options.TokenLifetime)
	return reply(http.StatusOK, map[string]any{
		"token_type": "Bearer", "expires_in": int(o.options.TokenLifetime.Seconds()),
		"access_token": o.access, "refresh_token": o.refresh,
	})
}

// AccessToken returns the access token that was given out last, empty before
// the first.
func (c *CRM) AccessToken() string {
	if c.oauth == nil {
		return ""
	}
	c.oauth.mu.Lock()
	defer c.oauth.mu.Unlock()
	return c.oauth.access
}

// ExpireTokens makes the access token worthless at once; the refresh token
// keeps working.
func (c *CRM) ExpireTokens() {
	if c.oauth == nil {
		return
	}
	c.oauth.mu.Lock()
	defer c.oauth.mu.Unlock()
	c.oauth.expires = time.Time{}
}

// token is POST /oauth/token.
func (c *CRM) token(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(w, r)
	form, errForm := url.ParseQuery(string(body))
	if err != nil || errForm != nil {
		a := apiError(http.StatusBadRequest, "invalid_request")
		a.write(w, len(a.body))
		return
	}
	c.count(func(stats *CRMStats) { stats.Calls["token"]++; stats.Total++ })
	c.faults.perform(w, r, "token", func() answer {
		defer c.begin("")()
		half := c.latencyNow() / 2
		sleep(r, half)
		a := c.oauth.exchange(form, time.Now())
		c.count(func(stats *CRMStats) {
			switch a.status {
			case http.StatusOK:
				stats.Refreshes++
			case http.StatusUnauthorized:
				stats.WrongToken++
			}
		})
		sleep(r, half)
		return a
	}, func(status int) answer { return apiError(status, http.StatusText(status)) })
}
