package pulse_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
	"spillway/internal/pulse"
	"spillway/internal/vault"
)

// processVariable tells a copy of the test program which worker it is:
// "REDIS CRM MODE".
const processVariable = "PULSE_TEST_WORKER"

// TestMain lets the test program also be a worker in a process of its own.
func TestMain(m *testing.M) {
	if role := os.Getenv(processVariable); role != "" {
		os.Exit(workerProcess(strings.Fields(role)))
	}
	os.Exit(m.Run())
}

// stuck is a vault that never gets a new pair stored.
type stuck struct{ *vault.Vault }

func (s stuck) Seal(ctx context.Context, name string, plain []byte, ttl time.Duration) error {
	if name != "oauth" {
		return s.Vault.Seal(ctx, name, plain, ttl)
	}
	select {}
}

func workerProcess(role []string) int {
	rdb := redis.NewClient(&redis.Options{Addr: role[0]})
	defer func() { _ = rdb.Close() }()
	secrets, err := vault.New(rdb, []byte(strings.Repeat("k", vault.KeyLength)), "spw:vault:")
	if err != nil {
		return 3
	}
	o := pulse.OAuthOptions{
		ClientID: "client", ClientSecret: "client-secret", RefreshToken: "seed-refresh-token",
		TokenURL: role[1] + "/oauth/token", Vault: secrets, Redis: rdb,
	}
	if role[2] == "stuck" {
		o.Vault = stuck{secrets}
	}
	tokens, err := pulse.NewOAuth(o)
	if err != nil {
		return 3
	}
	client, err := pulse.New(pulse.Options{URL: role[1], Tokens: tokens, Timeout: 30 * time.Second})
	if err != nil {
		return 3
	}
	if _, err := client.Contact(context.Background(), "7"); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// process returns a worker in a process of its own, not yet started.
func process(a *account, redisAddr, mode string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s", processVariable, redisAddr, a.server.URL, mode))
	return cmd
}

// Twenty workers, four of them processes, find their token expired at once.
func TestTwentyWorkersWithAnExpiredTokenRefreshOnce(t *testing.T) {
	t.Parallel()
	a, server := newAccount(t), redistest.Start(t)
	rdb := server.Client()
	var clients []*pulse.Client
	for range 16 {
		clients = append(clients, clientOf(t, a, worker(t, a, rdb)))
	}
	for _, client := range clients {
		_, err := client.Contact(t.Context(), "7")
		require.NoError(t, err)
	}
	a.expire()
	aged(t, rdb)
	var group sync.WaitGroup
	for _, client := range clients {
		for range 3 {
			group.Go(func() {
				if _, err := client.Contact(t.Context(), "7"); err != nil {
					t.Error(err)
				}
			})
		}
	}
	for range 4 {
		group.Go(func() {
			if out, err := process(a, server.Addr, "well").CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	group.Wait()
	refreshes, refusals := a.counts()
	require.Equal(t, 2, refreshes, "the first one and one after the expiry")
	require.Zero(t, refusals)
}

// The one window that cannot be closed: the CRM has spent the refresh token,
// and the process is killed before Redis has the next one.
func TestACrashBeforeTheNewTokensAreStoredIsAnAlarmThatDoesNotLoop(t *testing.T) {
	t.Parallel()
	a, server := newAccount(t), redistest.Start(t)
	rdb := server.Client()
	crashing := process(a, server.Addr, "stuck")
	require.NoError(t, crashing.Start())
	require.Eventually(t, func() bool { refreshes, _ := a.counts(); return refreshes == 1 }, 30*time.Second, time.Millisecond)
	require.NoError(t, crashing.Process.Kill())
	_ = crashing.Wait()

	// The others wait for the dead worker's lock; its end is brought forward.
	require.NoError(t, rdb.PExpire(t.Context(), "spw:lock:oauth", 50*time.Millisecond).Err())
	var group sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		client := clientOf(t, a, worker(t, a, rdb))
		group.Go(func() { _, errs[i] = client.Contact(t.Context(), "7") })
	}
	group.Wait()
	told := 0
	for _, err := range errs {
		requireOutageFor(t, 5*time.Minute, err)
		require.ErrorContains(t, err, "authorise Spillway's OAuth client again")
		require.NotContains(t, err.Error(), "seed-refresh-token")
		if strings.Contains(err.Error(), "a worker had presented it before") {
			told++
		}
	}
	require.Equal(t, 1, told, "the worker that was refused says why")
	_, refusals := a.counts()
	require.Equal(t, 1, refusals, "a refused token is presented once")

	// A person authorises again.
	a.mu.Lock()
	a.refresh = "new-seed"
	a.mu.Unlock()
	_, err := clientOf(t, a, worker(t, a, rdb, func(o *pulse.OAuthOptions) { o.RefreshToken = "new-seed" })).Contact(t.Context(), "7")
	require.NoError(t, err)
}

// A refusal that no crash preceded does not speak of one, however often it is met.
func TestARefusalWithoutACrashBlamesNoWorker(t *testing.T) {
	t.Parallel()
	a, rdb := newAccount(t), redistest.Start(t).Client()
	a.mu.Lock()
	a.refresh = "revoked"
	a.mu.Unlock()
	for range 3 {
		_, err := worker(t, a, rdb).Token(t.Context())
		requireOutageFor(t, 5*time.Minute, err)
		require.NotContains(t, err.Error(), "a worker had presented")
		require.NoError(t, rdb.Del(t.Context(), "spw:vault:oauth:refused").Err()) // five minutes later
	}
	_, refusals := a.counts()
	require.Equal(t, 3, refusals)
}

// A refresh whose answer got lost is made again; if the CRM did not get the
// first one, nothing is amiss.
func TestARefreshThatNeverArrivedIsMadeAgain(t *testing.T) {
	t.Parallel()
	a, rdb := newAccount(t), redistest.Start(t).Client()
	var once sync.Once
	a.intercepting(func(http.ResponseWriter, *http.Request) (cut bool) {
		once.Do(func() { cut = true })
		if cut {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	_, err := worker(t, a, rdb).Token(t.Context())
	requireOutage(t, err)
	access, err := worker(t, a, rdb).Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "access-token-1", access)
}
