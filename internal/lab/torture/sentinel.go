package torture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const masterName = "torture"

// sentinelSet is a master, a replica, and three Sentinels of which two decide.
type sentinelSet struct {
	nodes     []*server
	sentinels []*server
}

func newSentinelSet(ctx context.Context, dir string) (*sentinelSet, error) {
	set := &sentinelSet{}
	for i := range 2 {
		options := []string{
			"appendonly yes", "appendfsync everysec",
			"min-replicas-to-write 1", "min-replicas-max-lag 10", "repl-diskless-sync-delay 0",
		}
		if i == 1 {
			host, port, err := net.SplitHostPort(set.nodes[0].addr)
			if err != nil {
				return nil, err
			}
			options = append(options, "replicaof "+host+" "+port)
		}
		node, err := newServer(fmt.Sprintf("redis-%d", i+1), dir, options...)
		if err != nil {
			return nil, err
		}
		set.nodes = append(set.nodes, node)
		if err := node.up(ctx); err != nil {
			set.close()
			return nil, err
		}
	}
	for i := range 3 {
		host, port, err := net.SplitHostPort(set.nodes[0].addr)
		if err != nil {
			return nil, err
		}
		sentinel, err := newServer(fmt.Sprintf("sentinel-%d", i+1), dir)
		if err != nil {
			set.close()
			return nil, err
		}
		if err := sentinel.asSentinel(
			fmt.Sprintf("sentinel monitor %s %s %s 2", masterName, host, port),
			"sentinel down-after-milliseconds "+masterName+" 1500",
			"sentinel failover-timeout "+masterName+" 6000",
		); err != nil {
			set.close()
			return nil, err
		}
		set.sentinels = append(set.sentinels, sentinel)
		if err := sentinel.up(ctx); err != nil {
			set.close()
			return nil, err
		}
	}
	if err := set.await(ctx); err != nil {
		set.close()
		return nil, err
	}
	return set, nil
}

func (s *sentinelSet) url(string) string {
	addrs := make([]string, len(s.sentinels))
	for i, sentinel := range s.sentinels {
		addrs[i] = sentinel.addr
	}
	return "redis-sentinel://" + strings.Join(addrs, ",") + "/" + masterName
}

func (s *sentinelSet) client() redis.UniversalClient {
	addrs := make([]string, len(s.sentinels))
	for i, sentinel := range s.sentinels {
		addrs[i] = sentinel.addr
	}
	return redis.NewFailoverClient(&redis.FailoverOptions{MasterName: masterName, SentinelAddrs: addrs})
}

// master asks the Sentinels which node is the master.
func (s *sentinelSet) master(ctx context.Context) (*server, error) {
	var failure error
	for _, sentinel := range s.sentinels {
		client := redis.NewSentinelClient(&redis.Options{Addr: sentinel.addr, ReadTimeout: time.Second})
		addr, err := client.GetMasterAddrByName(ctx, masterName).Result()
		_ = client.Close()
		if err != nil {
			failure = err
			continue
		}
		for _, node := range s.nodes {
			if node.addr == net.JoinHostPort(addr[0], addr[1]) {
				return node, nil
			}
		}
	}
	return nil, fmt.Errorf("no Sentinel names a master that is known: %w", failure)
}

// await returns when the master takes writes and the Sentinels know enough of
// each other to replace it.
func (s *sentinelSet) await(ctx context.Context) error {
	return poll(ctx, 90*time.Second, "waiting for a master with its replica", func(ctx context.Context) error {
		node, err := s.master(ctx)
		if err != nil {
			return err
		}
		client := redis.NewClient(&redis.Options{Addr: node.addr, MaxRetries: -1, ReadTimeout: time.Second})
		defer client.Close()
		if err := client.Set(ctx, "torture:await", "1", time.Second).Err(); err != nil {
			return err
		}
		for _, sentinel := range s.sentinels {
			sc := redis.NewSentinelClient(&redis.Options{Addr: sentinel.addr, ReadTimeout: time.Second})
			err := sc.CkQuorum(ctx, masterName).Err()
			if err == nil {
				var replicas []map[string]string
				replicas, err = sc.Replicas(ctx, masterName).Result()
				if err == nil && (len(replicas) == 0 || replicas[0]["flags"] != "slave") {
					err = errors.New("a Sentinel does not see the replica")
				}
			}
			_ = sc.Close()
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// crash kills the master. It comes back as a replica after the failover: until
// then the new master takes no writes.
func (s *sentinelSet) crash(ctx context.Context, pause time.Duration) error {
	node, err := s.master(ctx)
	if err != nil {
		return err
	}
	node.kill()
	ctx = context.WithoutCancel(ctx)
	err = poll(ctx, 60*time.Second, "waiting for the failover", func(ctx context.Context) error {
		now, err := s.master(ctx)
		if err == nil && now == node {
			err = errors.New("the Sentinels still hold the killed one for the master")
		}
		return err
	})
	wait(ctx, pause)
	return errors.Join(err, node.up(ctx), s.await(ctx))
}

func (s *sentinelSet) freeze(ctx context.Context, d time.Duration) error {
	node, err := s.master(ctx)
	if err != nil {
		return err
	}
	node.freeze()
	wait(ctx, d)
	node.thaw()
	return s.await(context.WithoutCancel(ctx))
}

func (s *sentinelSet) folder() []string {
	var dirs []string
	for _, node := range s.nodes {
		dirs = append(dirs, node.dir)
	}
	return dirs
}

func (s *sentinelSet) close() {
	for _, sentinel := range s.sentinels {
		sentinel.kill()
	}
	for _, node := range s.nodes {
		node.kill()
	}
}
