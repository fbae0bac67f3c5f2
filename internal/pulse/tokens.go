package pulse

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// Tokens gives access tokens.
type Tokens interface {
	// Token returns the token to be used.
	Token(ctx context.Context) (string, error)
	// Renew is called when the CRM refused old, and returns one to be used
	// instead: a newer one if there is one already, else one that it obtains.
	Renew(ctx context.Context, old string) (string, error)
}

// Fixed gives one token that does not expire (SPILLWAY_CRM_TOKEN).
func Fixed(token string) Tokens { return fixed(strings.TrimSpace(token)) }

type fixed string

func (f fixed) Token(context.Context) (string, error) { return string(f), nil }

func (f fixed) Renew(context.Context, string) (string, error) {
	return "", &Unavailable{
		Attempt: "renewing the access token", Status: http.StatusUnauthorized, RetryAfter: shutOut,
		Reason: "the CRM refuses SPILLWAY_CRM_TOKEN (status 401): set it to a valid one",
	}
}

// TokenURL returns where the account at crmURL refreshes its OAuth tokens. All
// accounts use one portal, except those for development, which have their own.
func TokenURL(crmURL string) string {
	portal := "https://portal.thepulsespot.com"
	if u, err := url.Parse(crmURL); err == nil && strings.Contains(u.Host, ".dev.thepulsespot.com") {
		if account, ok := strings.CutPrefix(u.Host, "app."); ok {
			portal = u.Scheme + "://portal." + account
		}
	}
	return portal + "/oauth/token"
}
