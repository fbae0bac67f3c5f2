package pulse_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/pulse"
	"spillway/internal/vault"
)

func TestTheSeedGivesTheFirstTokenAndTheVaultTheNext(t *testing.T) {
	t.Parallel()
	a, rdb := newAccount(t), redistest.Start(t).Client()
	_, err := clientOf(t, a, worker(t, a, rdb)).Contact(t.Context(), "7")
	require.NoError(t, err)

	// A worker that starts later has the same seed, which is spent by now.
	_, err = clientOf(t, a, worker(t, a, rdb)).Contact(t.Context(), "7")
	require.NoError(t, err)
	a.expire()
	aged(t, rdb)
	_, err = clientOf(t, a, worker(t, a, rdb)).Contact(t.Context(), "7")
	require.NoError(t, err)
	refreshes, refusals := a.counts()
	require.Equal(t, 2, refreshes)
	require.Zero(t, refusals)
}

func TestManyWorkersWithAnExpiredTokenRefreshOnce(t *testing.T) {
	t.Parallel()
	a, server := newAccount(t), redistest.Start(t)
	var clients []*pulse.Client
	for range 3 {
		clients = append(clients, clientOf(t, a, worker(t, a, server.Client())))
	}
	burst := func() {
		var group sync.WaitGroup
		for i := range 60 {
			group.Go(func() {
				if _, err := clients[i%len(clients)].Contact(t.Context(), "7"); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	for round := 1; round <= 3; round++ {
		burst()
		refreshes, refusals := a.counts()
		require.Equal(t, round, refreshes)
		require.Zero(t, refusals)
		a.expire()
		aged(t, server.Client())
	}
}

func TestNoTokenStandsReadableInRedis(t *testing.T) {
	t.Parallel()
	a, rdb := newAccount(t), redistest.Start(t).Client()
	_, err := worker(t, a, rdb).Token(t.Context())
	require.NoError(t, err)
	for _, key := range rdb.Keys(t.Context(), "*").Val() {
		value := rdb.Get(t.Context(), key).Val()
		for _, secret := range []string{"access", "refresh", "seed", "client"} {
			require.NotContains(t, value, secret, key)
		}
	}
}

func TestAChangedSeedReplacesTheStoredTokens(t *testing.T) {
	t.Parallel()
	a, rdb := newAccount(t), redistest.Start(t).Client()
	first, err := worker(t, a, rdb).Token(t.Context())
	require.NoError(t, err)

	a.mu.Lock()
	a.refresh = "second-seed"
	a.mu.Unlock()
	reseeded := func(o *pulse.OAuthOptions) { o.RefreshToken = "second-seed" }
	second, err := worker(t, a, rdb, reseeded).Token(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, first, second)
	third, err := worker(t, a, rdb, reseeded).Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, second, third)
}

func TestARefusedRefreshIsToldToAllWorkersAndForgottenWithTheSeed(t *testing.T) {
	t.Parallel()
	a, rdb := newAccount(t), redistest.Start(t).Client()
	a.mu.Lock()
	a.refresh = "revoked"
	a.mu.Unlock()
	for range 5 {
		_, err := clientOf(t, a, worker(t, a, rdb)).Contact(t.Context(), "7")
		requireOutageFor(t, 5*time.Minute, err)
		require.ErrorContains(t, err, "SPILLWAY_CRM_REFRESH_TOKEN")
		require.ErrorContains(t, err, "OAuth client of its own")
		for _, secret := range []string{"seed-refresh-token", "ann@", "client-secret"} {
			require.NotContains(t, err.Error(), secret)
		}
	}
	_, refusals := a.counts()
	require.Equal(t, 1, refusals)

	a.mu.Lock()
	a.refresh = "new-seed"
	a.mu.Unlock()
	_, err := worker(t, a, rdb, func(o *pulse.OAuthOptions) { o.RefreshToken = "new-seed" }).Token(t.Context())
	require.NoError(t, err)
}

func TestATokenThatIsRefusedWhenNewIsNotRefreshedInALoop(t *testing.T) {
	t.Parallel()
	a, rdb := newAccount(t), redistest.Start(t).Client()
	strict := setup(t, says(401, ""), func(o *pulse.Options) { o.Tokens = worker(t, a, rdb) })
	for range 30 {
		_, err := strict.Contact(t.Context(), "7")
		requireOutage(t, err)
	}
	refreshes, _ := a.counts()
	require.Less(t, refreshes, 10)
}

func TestATokenOfAShortLifeIsRefreshedWhenItEnds(t *testing.T) {
	t.Parallel()
	a, rdb := newAccount(t), redistest.Start(t).Client()
	a.expires = "1"
	client := clientOf(t, a, worker(t, a, rdb))
	_, err := client.Contact(t.Context(), "7")
	require.NoError(t, err)
	a.expire()
	require.Eventually(t, func() bool {
		_, err := client.Contact(t.Context(), "7")
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
}

func TestTokensOfAnotherSecretKeyAreReplacedFromTheSeed(t *testing.T) {
	t.Parallel()
	a, rdb := newAccount(t), redistest.Start(t).Client()
	require.NoError(t, newVault(t, rdb, 'x').Seal(t.Context(), "oauth", []byte("{}"), 0))
	_, err := worker(t, a, rdb).Token(t.Context())
	require.NoError(t, err)
}

func TestStrangeMembersDoNotCostTheNewToken(t *testing.T) {
	t.Parallel()
	for _, expires := range []string{`"soon"`, `null`, `-1`, `1e99`, `{}`, `"2"`, `0.5`} {
		a, rdb := newAccount(t), redistest.Start(t).Client()
		a.expires = expires
		access, err := worker(t, a, rdb).Token(t.Context())
		require.NoError(t, err, expires)
		require.Equal(t, "access-token-1", access)
	}
}

func TestAnAnswerWithoutRefreshTokenKeepsTheOldOne(t *testing.T) {
	t.Parallel()
	a, rdb := newAccount(t), redistest.Start(t).Client()
	var refreshes atomic.Int32
	a.intercepting(func(w http.ResponseWriter, r *http.Request) bool {
		if r.PostFormValue("refresh_token") != "seed-refresh-token" {
			return false
		}
		says(200, fmt.Sprintf(`{"access_token":"a%d","error":null}`, refreshes.Add(1)))(w, r)
		return true
	})
	tokens := worker(t, a, rdb)
	access, err := tokens.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "a1", access)
	aged(t, rdb)
	access, err = tokens.Renew(t.Context(), access)
	require.NoError(t, err)
	require.Equal(t, "a2", access)
}

func TestATokenEndpointThatIsAwayIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		after   time.Duration
		text    string
	}{
		"503":      {says(503, "", "Retry-After", "9"), 9 * time.Second, "status 503"},
		"429":      {says(429, `{"error":"slow down"}`, "Retry-After", "9"), 9 * time.Second, "status 429"},
		"a page":   {says(200, "<html>"), time.Minute, "SPILLWAY_CRM_TOKEN_URL"},
		"no token": {says(200, `{"token_type":"Bearer"}`), time.Minute, "SPILLWAY_CRM_TOKEN_URL"},
		"404":      {says(404, "<html>"), time.Minute, "SPILLWAY_CRM_TOKEN_URL"},
		"redirect": {says(301, "", "Location", "https://portal.example.com/oauth/token?x=secret"), time.Minute, "https://portal.example.com:"},
		"reset":    {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, "closed before"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, rdb := newAccount(t), redistest.Start(t).Client()
			var away atomic.Bool
			away.Store(true)
			a.intercepting(func(w http.ResponseWriter, r *http.Request) bool {
				if away.Load() {
					c.handler(w, r)
				}
				return away.Load()
			})
			tokens := worker(t, a, rdb)
			_, err := tokens.Token(t.Context())
			requireOutageFor(t, c.after, err)
			require.ErrorContains(t, err, c.text)
			require.NotContains(t, err.Error(), "secret")
			away.Store(false)
			_, err = tokens.Token(t.Context())
			require.NoError(t, err)
		})
	}
}

func TestARefreshThatHasBegunIsStoredThoughItsCallerGaveUp(t *testing.T) {
	t.Parallel()
	a, rdb := newAccount(t), redistest.Start(t).Client()
	ctx, cancel := context.WithCancel(t.Context())
	a.intercepting(func(http.ResponseWriter, *http.Request) bool {
		cancel()
		return false
	})
	_, _ = worker(t, a, rdb).Token(ctx)
	access, err := worker(t, a, rdb).Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "access-token-1", access)
	refreshes, refusals := a.counts()
	require.Equal(t, 1, refreshes)
	require.Zero(t, refusals)
}

func TestAWorkerWaitsForTheOneThatRefreshesAndReplacesItWhenItCrashed(t *testing.T) {
	t.Parallel()
	a, rdb := newAccount(t), redistest.Start(t).Client()
	require.NoError(t, rdb.Set(t.Context(), "spw:lock:oauth", "a crashed worker", time.Minute).Err())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := worker(t, a, rdb).Token(ctx)
	requireOutage(t, err)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	require.NoError(t, rdb.PExpire(t.Context(), "spw:lock:oauth", 300*time.Millisecond).Err())
	_, err = worker(t, a, rdb).Token(t.Context())
	require.NoError(t, err)
	require.Zero(t, rdb.Exists(t.Context(), "spw:lock:oauth").Val(), "the lock is given back")
}

func TestARefreshSurvivesARestartOfRedis(t *testing.T) {
	t.Parallel()
	a, server := newAccount(t), redistest.Start(t)
	rdb := server.Client()
	var down sync.Once
	a.intercepting(func(http.ResponseWriter, *http.Request) bool {
		down.Do(server.Kill)
		return false
	})
	tokens := worker(t, a, rdb)
	done := make(chan error, 1)
	go func() {
		_, err := tokens.Token(t.Context())
		done <- err
	}()
	require.Eventually(t, func() bool { refreshes, _ := a.counts(); return refreshes == 1 }, 20*time.Second, time.Millisecond)
	server.Restart()
	// Restarting may take longer than the refresh waits for it.
	if err := <-done; err != nil {
		requireOutage(t, err)
	}
	require.Eventually(t, func() bool {
		access, err := tokens.Token(t.Context())
		return err == nil && access == "access-token-1"
	}, 20*time.Second, 50*time.Millisecond)
	access, err := worker(t, a, rdb).Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "access-token-1", access)
	refreshes, refusals := a.counts()
	require.Equal(t, 1, refreshes)
	require.Zero(t, refusals)
}

// leaky is a vault whose Seal reports a failure: after having stored, or without.
type leaky struct {
	*vault.Vault
	failing, storing atomic.Bool
}

func (l *leaky) Seal(ctx context.Context, name string, plain []byte, ttl time.Duration) error {
	if l.failing.Load() && name == "oauth" {
		if l.storing.Load() {
			_ = l.Vault.Seal(ctx, name, plain, ttl)
		}
		return &vault.Unavailable{Attempt: "sealing oauth", Err: context.DeadlineExceeded}
	}
	return l.Vault.Seal(ctx, name, plain, ttl)
}

func TestTokensThatCouldNotBeStoredAreStoredLater(t *testing.T) {
	t.Parallel()
	a, rdb := newAccount(t), redistest.Start(t).Client()
	failing := &leaky{Vault: newVault(t, rdb, 'k')}
	failing.failing.Store(true)
	tokens := worker(t, a, rdb, func(o *pulse.OAuthOptions) { o.Vault = failing })
	_, err := tokens.Token(t.Context()) // tries for ten seconds
	requireOutage(t, err)
	_, err = tokens.Token(t.Context())
	requireOutage(t, err)

	failing.failing.Store(false)
	access, err := tokens.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "access-token-1", access)
	access, err = worker(t, a, rdb).Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "access-token-1", access)
	refreshes, refusals := a.counts()
	require.Equal(t, 1, refreshes)
	require.Zero(t, refusals)
}

func TestTokensThatWereStoredAfterAllDoNotOverwriteTheirSuccessors(t *testing.T) {
	t.Parallel()
	a, rdb := newAccount(t), redistest.Start(t).Client()
	unsure := &leaky{Vault: newVault(t, rdb, 'k')}
	unsure.failing.Store(true)
	unsure.storing.Store(true)
	tokens := worker(t, a, rdb, func(o *pulse.OAuthOptions) { o.Vault = unsure })
	_, err := tokens.Token(t.Context()) // tries for ten seconds
	requireOutage(t, err)

	other := worker(t, a, rdb)
	access, err := other.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "access-token-1", access)
	a.expire()
	aged(t, rdb)
	access, err = other.Renew(t.Context(), access)
	require.NoError(t, err)
	require.Equal(t, "access-token-2", access)

	unsure.failing.Store(false)
	access, err = tokens.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "access-token-2", access)
	a.expire()
	aged(t, rdb)
	_, err = worker(t, a, rdb).Renew(t.Context(), access)
	require.NoError(t, err, "the chain is whole")
}

func TestWithoutRedisTokensAreAnOutage(t *testing.T) {
	t.Parallel()
	a, server := newAccount(t), redistest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	tokens := worker(t, a, rdb)
	server.Kill()
	_, err := clientOf(t, a, tokens).Contact(t.Context(), "7")
	requireOutage(t, err)
	refreshes, _ := a.counts()
	require.Zero(t, refreshes, "no token is spent that could not be kept")
	_, refusal := contact.AsRefusal(err)
	require.False(t, refusal)
}

func TestOAuthNamesTheSettingThatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := pulse.NewOAuth(pulse.OAuthOptions{})
	require.ErrorContains(t, err, "SPILLWAY_CRM_CLIENT_ID")
	whole := pulse.OAuthOptions{ClientID: "c", ClientSecret: "hunter2", RefreshToken: "hunter2", TokenURL: "https://example.com"}
	_, err = pulse.NewOAuth(whole)
	require.ErrorContains(t, err, "SPILLWAY_SECRET_KEY")
	whole.Vault = newVault(t, nil, 'k')
	_, err = pulse.NewOAuth(whole)
	require.ErrorContains(t, err, "Redis")
	require.NotContains(t, err.Error(), "hunter2")
}

// stuckVault stores nothing while it is stuck, as with a Redis that does not
// answer.
type stuckVault struct {
	pulse.Vault
	stuck atomic.Bool
}

func (v *stuckVault) Seal(ctx context.Context, name string, plain []byte, ttl time.Duration) error {
	if v.stuck.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return v.Vault.Seal(ctx, name, plain, ttl)
}

func TestARefreshThatCouldOutliveItsLockPresentsNoToken(t *testing.T) {
	t.Parallel()
	a, rdb := newAccount(t), redistest.Start(t).Client()
	slow := &stuckVault{Vault: newVault(t, rdb, 'k')}
	slow.stuck.Store(true)
	tokens := worker(t, a, rdb, func(o *pulse.OAuthOptions) { o.Vault, o.Timeout = slow, 300*time.Millisecond })
	_, err := tokens.Token(t.Context())
	requireOutage(t, err)
	require.ErrorContains(t, err, "Redis answers too slowly")
	refreshes, refusals := a.counts()
	require.Zero(t, refreshes+refusals)

	slow.stuck.Store(false)
	_, err = worker(t, a, rdb).Token(t.Context())
	require.NoError(t, err, "the lock was given back, and the token is not spent")
}
