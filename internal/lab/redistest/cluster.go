package redistest

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Cluster is a running Redis Cluster: masters that share the slots evenly, and
// one replica of each.
type Cluster struct {
	Masters  []*Server // in the order of their slots, as they were at the start
	Replicas []*Server // Replicas[i] follows Masters[i]

	tb testing.TB
}

// nodeTimeout is when a cluster gives up a node that does not answer: long
// enough for a busy machine, short enough for a test of a failure.
const nodeTimeout = 3 * time.Second

// slots is how many slots every Redis Cluster has.
const slots = 16384

// StartCluster runs a Redis Cluster of three masters with a replica each. extra
// are further command-line options of every redis-server.
func StartCluster(tb testing.TB, extra ...string) *Cluster {
	tb.Helper()
	const masters = 3
	c := &Cluster{tb: tb}
	for i := range 2 * masters {
		bus := freePort(tb)
		node := Start(tb, append([]string{
			"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", strconv.Itoa(bus),
			"--cluster-node-timeout", strconv.FormatInt(nodeTimeout.Milliseconds(), 10),
			"--repl-diskless-sync-delay", "0",
		}, extra...)...)
		node.bus = bus
		if i < masters {
			c.Masters = append(c.Masters, node)
		} else {
			c.Replicas = append(c.Replicas, node)
		}
	}
	nodes := append(append([]*Server{}, c.Masters...), c.Replicas...)
	for i, node := range nodes {
		// Nodes that meet with equal epochs take long to agree.
		node.must("CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	for i, node := range c.Masters {
		node.must("CLUSTER", "ADDSLOTSRANGE", i*slots/masters, (i+1)*slots/masters-1)
	}
	host, port, err := net.SplitHostPort(nodes[0].Addr)
	require.NoError(tb, err)
	for _, node := range nodes[1:] {
		node.must("CLUSTER", "MEET", host, port, nodes[0].bus)
	}
	c.await(nodes, "cluster_known_nodes:"+strconv.Itoa(len(nodes)))
	for i, replica := range c.Replicas {
		master := c.Masters[i].must("CLUSTER", "MYID")
		require.Eventually(tb, func() bool {
			_, err := replica.try("CLUSTER", "REPLICATE", master)
			return err == nil
		}, 30*time.Second, 50*time.Millisecond, "the replica does not know its master")
		replica.awaitReplication()
	}
	c.await(nodes, "cluster_state:ok")
	return c
}

// URL returns the cluster's address as SPILLWAY_REDIS_URL takes it.
func (c *Cluster) URL() string {
	addrs := make([]string, 0, len(c.Masters)+len(c.Replicas))
	for _, node := range append(append([]*Server{}, c.Masters...), c.Replicas...) {
		addrs = append(addrs, node.Addr)
	}
	return "redis-cluster://" + strings.Join(addrs, ",")
}

// Client returns a client that is closed when the test ends.
func (c *Cluster) Client() *redis.ClusterClient {
	addrs := strings.Split(strings.TrimPrefix(c.URL(), "redis-cluster://"), ",")
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, DialerRetries: 1, ClusterStateReloadInterval: time.Second})
	c.tb.Cleanup(func() { _ = client.Close() })
	return client
}

// MasterOf returns the index of the master that the slot of a key was given to
// at the start.
func (c *Cluster) MasterOf(key string) int {
	c.tb.Helper()
	slot, err := strconv.Atoi(c.Replicas[0].must("CLUSTER", "KEYSLOT", key))
	require.NoError(c.tb, err)
	for i := range c.Masters {
		if slot < (i+1)*slots/len(c.Masters) {
			return i
		}
	}
	return len(c.Masters) - 1
}

// AwaitPromotion waits until the replica of a killed master has taken its
// slots over and the surviving nodes agree that the cluster is whole.
func (c *Cluster) AwaitPromotion(master int) {
	c.tb.Helper()
	require.Eventually(c.tb, func() bool {
		info, err := c.Replicas[master].try("INFO", "replication")
		return err == nil && strings.Contains(info, "role:master")
	}, 60*time.Second, 50*time.Millisecond, "the replica was not promoted")
	var living []*Server
	for i := range c.Masters {
		if i != master {
			living = append(living, c.Masters[i])
		}
		living = append(living, c.Replicas[i])
	}
	c.await(living, "cluster_state:ok")
}

// await waits until CLUSTER INFO of every node holds a line.
func (c *Cluster) await(nodes []*Server, line string) {
	c.tb.Helper()
	for _, node := range nodes {
		require.Eventually(c.tb, func() bool {
			info, err := node.try("CLUSTER", "INFO")
			return err == nil && strings.Contains(info, line)
		}, 60*time.Second, 50*time.Millisecond, "the cluster did not come to %s", line)
	}
}

// try runs a command on this server alone.
func (s *Server) try(args ...any) (string, error) {
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return client.Do(ctx, args...).Text()
}

func (s *Server) must(args ...any) string {
	s.tb.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer client.Close()
	answer, err := client.Do(context.Background(), args...).Result()
	require.NoError(s.tb, err, "%v", args)
	switch answer := answer.(type) {
	case string:
		return answer
	case int64:
		return strconv.FormatInt(answer, 10)
	}
	return ""
}

// awaitReplication waits until a replica follows its master.
func (s *Server) awaitReplication() {
	s.tb.Helper()
	require.Eventually(s.tb, func() bool {
		info, err := s.try("INFO", "replication")
		return err == nil && strings.Contains(info, "master_link_status:up")
	}, 60*time.Second, 50*time.Millisecond, "the replica at %s does not follow its master", s.Addr)
}
