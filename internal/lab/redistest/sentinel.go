package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Sentinel is a master with one replica, watched by three Sentinels.
type Sentinel struct {
	Master, Replica *Server // as they were at the start

	tb        testing.TB
	sentinels []string // addresses
}

// DownAfter is how long a master must not have answered before the Sentinels
// consider it down.
const DownAfter = 2 * time.Second

// masterName is the name by which the Sentinels know the master.
const masterName = "spillway"

// StartSentinel runs a master, its replica, and three Sentinels that promote
// the replica when the master does not answer. extra are further command-line
// options of the master and the replica.
func StartSentinel(tb testing.TB, extra ...string) *Sentinel {
	tb.Helper()
	master := Start(tb, append([]string{"--repl-diskless-sync-delay", "0"}, extra...)...)
	host, port, err := net.SplitHostPort(master.Addr)
	require.NoError(tb, err)
	replica := Start(tb, append([]string{"--repl-diskless-sync-delay", "0", "--replicaof", host + " " + port}, extra...)...)
	replica.awaitReplication()
	s := &Sentinel{Master: master, Replica: replica, tb: tb}
	for range 3 {
		s.sentinels = append(s.sentinels, startSentinel(tb, host, port))
	}
	for _, addr := range s.sentinels {
		require.Eventually(tb, func() bool {
			ready, err := (&Server{Addr: addr}).try("SENTINEL", "CKQUORUM", masterName)
			return err == nil && strings.HasPrefix(ready, "OK 3 usable Sentinels") && s.knowsReplica(addr)
		}, 60*time.Second, 50*time.Millisecond, "the Sentinels did not find each other")
	}
	return s
}

// startSentinel runs one Sentinel and returns its address.
func startSentinel(tb testing.TB, masterHost, masterPort string) string {
	tb.Helper()
	dir, port := tb.TempDir(), freePort(tb)
	settings := filepath.Join(dir, "sentinel.conf")
	require.NoError(tb, os.WriteFile(settings, fmt.Appendf(nil, `port %d
bind 127.0.0.1
dir %s
sentinel monitor %s %s %s 2
sentinel down-after-milliseconds %s %d
sentinel failover-timeout %s 10000
`, port, dir, masterName, masterHost, masterPort, masterName, DownAfter.Milliseconds(), masterName), 0o600))
	cmd := exec.Command("redis-server", settings, "--sentinel")
	require.NoError(tb, cmd.Start())
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

func (s *Sentinel) knowsReplica(sentinel string) bool {
	client := redis.NewSentinelClient(&redis.Options{Addr: sentinel, MaxRetries: -1})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	replicas, err := client.Replicas(ctx, masterName).Result()
	return err == nil && len(replicas) == 1 && replicas[0]["master-link-status"] == "ok"
}

// URL returns the address as SPILLWAY_REDIS_URL takes it.
func (s *Sentinel) URL() string {
	return "redis-sentinel://" + strings.Join(s.sentinels, ",") + "/" + masterName
}

// Client returns a client of the current master; it is closed when the test
// ends.
func (s *Sentinel) Client() *redis.Client {
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: masterName, SentinelAddrs: s.sentinels})
	s.tb.Cleanup(func() { _ = client.Close() })
	return client
}

// AwaitPromotion waits, after the master was killed, until the Sentinels name
// the replica as master and it is one.
func (s *Sentinel) AwaitPromotion() {
	s.tb.Helper()
	for _, addr := range s.sentinels {
		require.Eventually(s.tb, func() bool {
			client := redis.NewSentinelClient(&redis.Options{Addr: addr, MaxRetries: -1})
			defer client.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			master, err := client.GetMasterAddrByName(ctx, masterName).Result()
			if err != nil || net.JoinHostPort(master[0], master[1]) != s.Replica.Addr {
				return false
			}
			info, err := s.Replica.try("INFO", "replication")
			return err == nil && strings.Contains(info, "role:master")
		}, 60*time.Second, 50*time.Millisecond, "the replica was not promoted")
	}
}
