package pulse

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

const (
	// storeTime is how long a new pair is tried to be stored, again each
	// storePause.
	storeTime  = 10 * time.Second
	storePause = 250 * time.Millisecond
	// refusedTime is how long nobody tries again after a refused refresh.
	refusedTime = 5 * time.Minute
	// freshTime is how long a token just issued is not refreshed, should the
	// CRM refuse it: it would refuse the next one as well.
	freshTime = 3 * time.Second
)

// OAuthOptions are the settings of an [OAuth].
type OAuthOptions struct {
	ClientID     string
	ClientSecret string
	// RefreshToken is the seed: where the chain of tokens begins. Once it has
	// been used, the vault has its successors; another seed begins a new chain.
	RefreshToken string
	// TokenURL is where tokens are refreshed; see [TokenURL].
	TokenURL string
	// Vault keeps the tokens for all workers. Redis keeps the lock, and must be
	// the same for all of them.
	Vault Vault
	Redis redis.UniversalClient
	// Name is that of the vault's entry; the lock is "spw:lock:"+Name. Empty
	// stands for "oauth". Two accounts in one Redis need two names.
	Name string
	// Timeout, Roots, HTTP and Observe are as in [Options]; a timeout longer than 10
	// seconds is cut to that, to fit into the lock's life.
	Timeout time.Duration
	Roots   *x509.CertPool
	HTTP    *http.Client
	Observe func(Call)
}

// Vault keeps secrets. An error that is no [contact.Outage] says that there is
// no entry that can be read.
type Vault interface {
	Open(ctx context.Context, name string) ([]byte, error)
	Seal(ctx context.Context, name string, plain []byte, ttl time.Duration) error
}

// OAuth gives access tokens that expire, and refreshes them.
//
// A refresh invalidates the refresh token that it used. So one worker refreshes
// at a time, under a lock in Redis, and the new pair stands in the vault before
// anyone uses it; the others take it from there. A pair that could not be
// stored stays in memory and is stored first thing with the next call.
//
// What cannot be closed: a pair is lost with a process that is killed between
// the CRM's answer and Redis's, milliseconds later, and so is one whose answer
// did not arrive. The spent token is noted beforehand, so the error then says
// what happened. As whenever the CRM refuses a refresh token, no worker presents
// it again for five minutes, contacts wait, and a person has to authorise anew.
type OAuth struct {
	o       OAuthOptions
	owner   string // names this process in the lock
	http    *http.Client
	turn    chan struct{} // held by the one goroutine that renews
	observe func(Call)

	mu    sync.Mutex
	known pair // as it stands in the vault, as far as this process knows

	// unstored follows the refresh token unstoredFrom. Both belong to the
	// goroutine that holds the turn.
	unstored     *pair
	unstoredFrom string
}

var _ Tokens = (*OAuth)(nil)

// pair is what the vault holds.
type pair struct {
	Access  string `json:"access"`
	Refresh string `json:"refresh"`
	Seed    string `json:"seed"` // the fingerprint of the seed that the chain began with
}

// NewOAuth returns the tokens of an OAuth client; it makes no call.
func NewOAuth(o OAuthOptions) (*OAuth, error) {
	switch {
	case o.ClientID == "" || o.ClientSecret == "" || o.RefreshToken == "" || o.TokenURL == "":
		return nil, errors.New("OAuth needs SPILLWAY_CRM_CLIENT_ID, SPILLWAY_CRM_CLIENT_SECRET, SPILLWAY_CRM_REFRESH_TOKEN and a token URL")
	case o.Vault == nil:
		return nil, errors.New("OAuth needs SPILLWAY_SECRET_KEY, to keep its tokens sealed; make one with: openssl rand -base64 32")
	case o.Redis == nil:
		return nil, errors.New("OAuth needs Redis, to keep workers from refreshing at the same time")
	}
	if o.Name == "" {
		o.Name = "oauth"
	}
	if o.Timeout <= 0 || o.Timeout > defaultTimeout {
		o.Timeout = defaultTimeout
	}
	if o.Observe == nil {
		o.Observe = func(Call) {}
	}
	return &OAuth{
		o: o, owner: rand.Text(), http: withoutRedirects(o.HTTP, 1, o.Roots),
		turn: make(chan struct{}, 1), observe: o.Observe,
	}, nil
}

// Token returns the access token that this process knows, else the vault's, else
// a first one.
func (t *OAuth) Token(ctx context.Context) (string, error) {
	if access := t.current(); access != "" {
		return access, nil
	}
	return t.Renew(ctx, "")
}

// Renew returns a token other than old. Exactly one worker refreshes; a refresh
// that has begun is brought to its end even if ctx ends, since the refresh token
// is spent. The error is an outage.
func (t *OAuth) Renew(ctx context.Context, old string) (string, error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return "", t.gaveUp(ctx)
	}
	if access := t.current(); access != "" && access != old && t.unstored == nil {
		return access, nil
	}
	for {
		// What another worker has stored is enough, without the lock.
		if access, err := t.look(ctx, old); err != nil || access != "" {
			return access, err
		}
		unlock, locked, err := t.lock(ctx)
		if err != nil {
			return "", err
		}
		if locked {
			defer unlock()
			return t.refresh(ctx, old)
		}
		timer := time.NewTimer(lockPoll())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return "", t.gaveUp(ctx)
		}
	}
}

func (t *OAuth) current() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known.Access
}

// adopt makes a stored pair the one that is used.
func (t *OAuth) adopt(p pair) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known = p
	return p.Access
}

// look returns the stored access token if it is another than old, or an error if
// there is no use in refreshing now, or neither.
func (t *OAuth) look(ctx context.Context, old string) (string, error) {
	if t.unstored != nil {
		return "", nil
	}
	p, _, err := t.load(ctx)
	if err != nil {
		return "", err
	}
	if p.Access != "" && p.Access != old {
		return t.adopt(p), nil
	}
	return "", t.worthRefreshing(ctx, p)
}

// load reads the pair from the vault. If there is none, or it began with
// another seed, it is not found, and the seed is all there is.
func (t *OAuth) load(ctx context.Context) (p pair, found bool, err error) {
	seed := pair{Refresh: t.o.RefreshToken, Seed: fingerprint(t.o.RefreshToken)}
	plain, err := t.o.Vault.Open(ctx, t.o.Name)
	if err != nil {
		if _, outage := contact.AsOutage(err); outage {
			return pair{}, false, fmt.Errorf("reading the CRM's tokens: %w", err)
		}
		return seed, false, nil
	}
	var stored pair
	if json.Unmarshal(plain, &stored) != nil || stored.Seed != seed.Seed || stored.Refresh == "" {
		return seed, false, nil
	}
	return stored, true, nil
}

// worthRefreshing tells why the pair should not be refreshed now.
func (t *OAuth) worthRefreshing(ctx context.Context, p pair) error {
	if t.remembered(ctx, "refused", p.Refresh) {
		return t.refusedError(http.StatusUnauthorized, "not tried again for some minutes")
	}
	if p.Access != "" && t.remembered(ctx, "fresh", p.Access) {
		return &Unavailable{
			Attempt: attemptRefresh, Status: http.StatusUnauthorized, RetryAfter: freshTime,
			Reason: "the CRM refuses an access token that it has just issued: check that SPILLWAY_CRM_URL and the token URL belong to the same account",
		}
	}
	return nil
}

// remember notes something about a token for all workers. What cannot be noted
// is found out again.
func (t *OAuth) remember(ctx context.Context, what, token string, life time.Duration) {
	_ = t.o.Vault.Seal(ctx, t.o.Name+":"+what, []byte(fingerprint(token)), life)
}

func (t *OAuth) remembered(ctx context.Context, what, token string) bool {
	noted, err := t.o.Vault.Open(ctx, t.o.Name+":"+what)
	return err == nil && string(noted) == fingerprint(token)
}

func (t *OAuth) gaveUp(ctx context.Context) error {
	return &Unavailable{Attempt: attemptRefresh, Reason: "gave up waiting for another worker's refresh: " + ctx.Err().Error(), Err: ctx.Err()}
}

// fingerprint recognises a token without holding it.
func fingerprint(token string) string {
	digest := sha256.Sum256([]byte(token))
	return hex.EncodeToString(digest[:16])
}
