package observe_test

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/lab/logtest"
	"spillway/internal/observe"
)

//nolint:paralleltest // the client's logger is the process's
func TestTheRedisClientsMessagesAreLinesOfTheLogWithoutCredentials(t *testing.T) {
	var log logtest.Log
	observe.LogRedis(observe.NewLogger(zerolog.InfoLevel, "json", &log))
	t.Cleanup(func() { observe.LogRedis(zerolog.Nop()) })
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}, MaxRetries: -1,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.AddrError{Err: "no way", Addr: "redis://someone:s3cret@127.0.0.1:1/0"}
		},
	})
	defer client.Close()
	require.Error(t, client.Ping(t.Context()).Err())
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "\n") }, 10*time.Second, 10*time.Millisecond)
	for line := range strings.Lines(log.String()) {
		var entry map[string]string
		require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
		require.Equal(t, "warn", entry["level"])
		require.Equal(t, "redis", entry["component"])
		require.Contains(t, entry["message"], "redis://127.0.0.1:1/0")
	}
	require.NotContains(t, log.String(), "s3cret")
}
