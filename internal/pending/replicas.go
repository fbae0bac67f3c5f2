package pending

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/redisconn"
)

const (
	// confirmTimeout is how long a replica may take to confirm a write. Clients
	// wait longer than that for an answer of Redis, see package redisconn.
	confirmTimeout = time.Second
	// replicasKnown is how long a master's answer counts on whether it writes
	// only with a replica in step.
	replicasKnown = 5 * time.Second
)

// ErrUnconfirmed says that no replica confirmed in time that it has what was
// recorded: it would be lost if the master failed now. It may be kept all the
// same.
var ErrUnconfirmed = errors.New("no replica of Redis confirmed the write within a second: see that a replica follows the master (INFO replication), or set min-replicas-to-write to 0 to do without")

// replicas is whether a queue's master was told to write only with a replica in
// step. An operator who sets min-replicas-to-write wants a failover to lose
// nothing; but Redis checks only that a replica answered lately, and replicates
// after it has answered. So each script is then followed by WAIT.
type replicas struct {
	known  atomic.Int64 // when the master said so, Unix ms; zero: ask
	needed atomic.Bool
}

// ask asks the master, if it was not asked lately. A server that does not
// permit or know INFO counts as one without replicas.
func (r *replicas) ask(ctx context.Context, master redis.Cmdable) (needed bool, err error) {
	if time.Now().UnixMilli()-r.known.Load() < replicasKnown.Milliseconds() {
		return r.needed.Load(), nil
	}
	info, err := redisconn.ReadInfo(ctx, master, "replication")
	var refused redis.Error
	if err != nil && !errors.As(err, &refused) {
		return false, fmt.Errorf("asking Redis whether it writes only with replicas: %w", err)
	}
	// Redis counts the replicas in step only where it was told how many it needs.
	_, needed = info["min_slaves_good_slaves"]
	r.needed.Store(needed)
	r.known.Store(time.Now().UnixMilli())
	return needed, nil
}

// record runs a script of a queue. Where the queue's master writes only with a
// replica in step, record returns no answer before a replica has what the
// script wrote; [ErrUnconfirmed] then says that none has.
func (c *Contacts) record(ctx context.Context, q *queue, script *redis.Script, keys []string, args ...any) (answer string, err error) {
	defer func() {
		if err != nil {
			// Another master may answer next time.
			q.replicas.known.Store(0)
			if cluster, ok := c.rdb.(*redis.ClusterClient); ok {
				cluster.ReloadState(ctx)
			}
		}
	}()
	master, err := c.master(ctx, q)
	if err != nil {
		return "", err
	}
	needed, err := q.replicas.ask(ctx, master)
	if err != nil {
		return "", err
	}
	if !needed {
		return script.Run(ctx, c.rdb, keys, args...).Text()
	}
	answer, err = confirmed(ctx, master, func(pipe redis.Cmdable) *redis.Cmd { return script.EvalSha(ctx, pipe, keys, args...) })
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		answer, err = confirmed(ctx, master, func(pipe redis.Cmdable) *redis.Cmd { return script.Eval(ctx, pipe, keys, args...) })
	}
	return answer, err
}

// confirmed runs a script and waits for a replica, in one round trip: WAIT
// concerns what was written on its own connection.
func confirmed(ctx context.Context, master redis.Cmdable, run func(redis.Cmdable) *redis.Cmd) (string, error) {
	pipe := master.Pipeline()
	script, wait := run(pipe), pipe.Do(ctx, "wait", 1, confirmTimeout.Milliseconds())
	_, _ = pipe.Exec(ctx) // each command has its own error
	answer, err := script.Text()
	if err != nil {
		return "", err
	}
	have, err := wait.Int()
	if err == nil && have < 1 {
		err = ErrUnconfirmed
	}
	return answer, err
}

// master returns the server that has a queue's keys.
func (c *Contacts) master(ctx context.Context, q *queue) (redis.Cmdable, error) {
	cluster, ok := c.rdb.(*redis.ClusterClient)
	if !ok {
		return c.rdb, nil
	}
	node, err := cluster.MasterForKey(ctx, q.due)
	if err != nil {
		return nil, fmt.Errorf("looking for the master of queue %s: %w", q.name, err)
	}
	return node, nil
}
