package observe_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
	"spillway/internal/observe"
)

func TestRedisThatEvictsIsUnready(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]string{
		"noeviction":   "",
		"allkeys-lru":  "its maxmemory-policy evicts keys, set it to noeviction",
		"volatile-ttl": "its maxmemory-policy evicts keys, set it to noeviction",
	} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, "--maxmemory-policy", policy)
			err := observe.RedisCheck(server.Client()).Run(t.Context())
			if want == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, want)
			}
		})
	}
}

func TestRedisThatTakesNoWritesIsUnready(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		arguments []string
		want      string
	}{
		"a replica":              {[]string{"--replicaof", "127.0.0.1", "1"}, "is a replica, which takes no writes"},
		"without its replica":    {[]string{"--min-replicas-to-write", "1"}, "takes no writes, since no replica is in step (min-replicas-to-write)"},
		"full":                   {[]string{"--maxmemory", "1"}, "is full (maxmemory)"},
		"with room in its limit": {[]string{"--maxmemory", "1gb"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, test.arguments...)
			err := observe.RedisCheck(server.Client()).Run(t.Context())
			if test.want == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, test.want)
			}
		})
	}
}

func TestRedisIsUnreadyWhileItIsAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	// With go-redis's own retries the two seconds may end before the last one.
	client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = client.Close() })
	h := observe.Handler(observe.NewRegistry(), observe.RedisCheck(client))
	status, _ := get(h, "/readyz")
	require.Equal(t, http.StatusOK, status)

	server.Kill()
	status, body := get(h, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.JSONEq(t, `{"status":"unready","checks":{"redis":"refuses connections"}}`, body)

	server.Restart()
	require.Eventually(t, func() bool {
		status, _ := get(h, "/readyz")
		return status == http.StatusOK
	}, 10*time.Second, 10*time.Millisecond)
}

func TestRedisThatRefusesInfoIsReadyAndOneThatWantsAPasswordIsNot(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client()
	ctx := t.Context()
	require.NoError(t, admin.Do(ctx, "ACL", "SETUSER", "limited", "on", ">pw", "~*", "+@all", "-info").Err())

	limited := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "limited", Password: "pw"})
	t.Cleanup(func() { _ = limited.Close() })
	require.NoError(t, observe.RedisCheck(limited).Run(ctx))

	require.NoError(t, admin.Do(ctx, "ACL", "SETUSER", "default", "resetpass", ">pw").Err())
	stranger := redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { _ = stranger.Close() })
	require.EqualError(t, observe.RedisCheck(stranger).Run(ctx), "answers NOAUTH")
}
