package assembly

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"

	"github.com/redis/go-redis/v9"

	"spillway/internal/config"
	"spillway/internal/pending"
	"spillway/internal/pulse"
	"spillway/internal/throttle"
	"spillway/internal/vault"
)

// VaultPrefix is where sealed entries stand in Redis.
const VaultPrefix = "spw:v:"

// Contacts returns the contacts of an installation for an operator's command. It
// leaves the number of queues alone, which a server sets when it starts first.
func Contacts(rdb redis.UniversalClient, settings config.Config) *pending.Contacts {
	return newContacts(rdb, settings, nil)
}

// CRMOptions say how the CRM is called.
type CRMOptions struct {
	Settings config.CRM
	// Redis holds the budget that the workers share, and OAuth's tokens. Nil:
	// the calls are not counted, which does for a few with a fixed token.
	Redis redis.UniversalClient
	// Vault opens OAuth's tokens; other tokens need none.
	Vault *vault.Vault
	Roots *x509.CertPool // of a client of its own; nil: the system's
	HTTP  *http.Client   // nil: a client of its own
	// Breaker keeps calls from a CRM that is away. Nil, as for an operator's
	// command: every call is made, since a person who asks wants an answer.
	Breaker pulse.Breaker
	Observe func(pulse.Call) // is told of every call; nil: nobody is
}

// tokensName is that of the vault's entry that holds OAuth's tokens.
func tokensName(tokens string) string {
	if tokens == "" {
		return "oauth"
	}
	return "oauth." + tokens
}

// CRM returns a client of the CRM, whose calls are taken from the budget of all.
// The budget is nil without Redis.
func CRM(o CRMOptions) (*pulse.Client, *throttle.Budget, error) {
	options := pulse.Options{
		URL: o.Settings.URL, Tokens: pulse.Fixed(o.Settings.Token), Concurrency: o.Settings.Concurrency, HTTP: o.HTTP, Roots: o.Roots,
		Breaker: o.Breaker, Observe: o.Observe,
	}
	var budget *throttle.Budget
	if o.Redis != nil {
		var err error
		if budget, err = throttle.NewBudget(o.Redis, throttle.BudgetKey(o.Settings.Account), o.Settings.Rate, 0); err != nil {
			return nil, nil, fmt.Errorf("SPILLWAY_CRM_RATE: %w", err)
		}
		options.Budget = budget
	}
	if o.Settings.OAuth() {
		if o.Vault == nil || o.Redis == nil {
			return nil, nil, errors.New("OAuth keeps its tokens sealed in Redis: set SPILLWAY_SECRET_KEY and SPILLWAY_REDIS_URL")
		}
		tokenURL := o.Settings.TokenURL
		if tokenURL == "" {
			tokenURL = pulse.TokenURL(o.Settings.URL)
		}
		tokens, err := pulse.NewOAuth(pulse.OAuthOptions{
			ClientID: o.Settings.ClientID, ClientSecret: o.Settings.ClientSecret, RefreshToken: o.Settings.RefreshToken,
			TokenURL: tokenURL, Name: tokensName(o.Settings.Tokens), Vault: o.Vault, Redis: o.Redis, HTTP: o.HTTP, Roots: o.Roots, Observe: o.Observe,
		})
		if err != nil {
			return nil, nil, err
		}
		options.Tokens = tokens
	}
	client, err := pulse.New(options)
	if err != nil {
		return nil, nil, err
	}
	return client, budget, nil
}
