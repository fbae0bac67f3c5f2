package pending_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
	"spillway/internal/redisconn"
)

// tally counts what is sent, by name, pipelines included.
type tally struct{ wait, info, script atomic.Int64 }

func (*tally) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *tally) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.count(cmd)
		return next(ctx, cmd)
	}
}

func (c *tally) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			c.count(cmd)
		}
		return next(ctx, cmds)
	}
}

func (c *tally) count(cmd redis.Cmder) {
	switch cmd.Name() {
	case "wait":
		c.wait.Add(1)
	case "info":
		c.info.Add(1)
	case "evalsha", "eval":
		c.script.Add(1)
	}
}

// connect opens a Redis as ingest does.
func connect(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	rdb, err := redisconn.Open(url, redisconn.ForIngest)
	require.NoError(t, err)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func inStep(t *testing.T, master *redistest.Server) {
	t.Helper()
	client := master.Client()
	polltest.Until(t, time.Minute, func() bool {
		info, err := redisconn.ReadInfo(t.Context(), client, "replication")
		return err == nil && info["min_slaves_good_slaves"] == "1"
	}, "the replica is in step")
}

func TestWebhookIsAcknowledgedOnceAReplicaHasIt(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t, "--min-replicas-to-write", "1", "--min-replicas-max-lag", "3600")
	inStep(t, sentinel.Master)
	rdb := connect(t, sentinel.URL())
	sent := &tally{}
	rdb.AddHook(sent)
	intake := pending.NewIntake(pending.New(rdb, pending.Options{}))

	// The script is loaded, and then known.
	for _, coalesced := range []bool{false, true, true} {
		was, err := intake.Submit(t.Context(), ann, upd, contact.Receipt{})
		require.NoError(t, err)
		require.Equal(t, coalesced, was)
	}
	require.Equal(t, sent.script.Load(), sent.wait.Load(), "each script is followed by WAIT")
	require.Equal(t, int64(1), sent.info.Load(), "Redis is not asked for each webhook")

	// The master still believes in its replica, which takes nothing any more.
	sentinel.Replica.Freeze()
	_, err := intake.Submit(t.Context(), ann, upd, contact.Receipt{})
	require.ErrorIs(t, err, pending.ErrUnconfirmed)
	_, err = pending.New(rdb, pending.Options{}).Resync(t.Context(), ann, upd)
	require.ErrorIs(t, err, pending.ErrUnconfirmed)

	sentinel.Replica.Thaw()
	polltest.Until(t, time.Minute, func() bool {
		_, err = intake.Submit(t.Context(), ann, upd, contact.Receipt{})
		return err == nil
	}, "it is taken when the replica is back")
}

func TestNothingWaitsForAReplicaThatRedisDoesNotNeed(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t)
	sentinel.Replica.Freeze()
	t.Cleanup(sentinel.Replica.Thaw)
	rdb := connect(t, sentinel.URL())
	sent := &tally{}
	rdb.AddHook(sent)
	intake := pending.NewIntake(pending.New(rdb, pending.Options{}))
	for range 3 {
		_, err := intake.Submit(t.Context(), ann, upd, contact.Receipt{})
		require.NoError(t, err)
	}
	require.Zero(t, sent.wait.Load())
	require.Equal(t, int64(1), sent.info.Load())
}

// A user of Redis who may not ask for INFO works as without replicas.
func TestRedisThatDoesNotPermitInfoTakesWebhooks(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	require.NoError(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "limited", "on", ">p", "~*", "&*", "+@all", "-info").Err())
	rdb := connect(t, strings.Replace(server.URL(), "redis://", "redis://limited:p@", 1))
	require.ErrorContains(t, rdb.Info(t.Context()).Err(), "NOPERM")
	_, err := pending.NewIntake(pending.New(rdb, pending.Options{})).Submit(t.Context(), ann, upd, contact.Receipt{})
	require.NoError(t, err)
}

func TestClusterConfirmsWhereTheQueueLies(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, "--min-replicas-to-write", "1", "--min-replicas-max-lag", "3600")
	for _, master := range cluster.Masters {
		inStep(t, master)
	}
	contacts := pending.New(connect(t, cluster.URL()), pending.Options{})
	_, err := contacts.Submit(t.Context(), ann, upd, contact.Receipt{})
	require.NoError(t, err)

	mine := cluster.MasterOf("{" + contacts.Queues()[0] + "}")
	// Less than the time after which a node counts as failed.
	cluster.Replicas[mine].Freeze()
	_, err = contacts.Submit(t.Context(), ann, upd, contact.Receipt{})
	require.ErrorIs(t, err, pending.ErrUnconfirmed)
	cluster.Replicas[mine].Thaw()

	cluster.Masters[mine].Kill()
	cluster.AwaitPromotion(mine)
	// The promoted one has no replica, so it takes nothing; but it is who is asked.
	polltest.Until(t, time.Minute, func() bool {
		_, err = contacts.Submit(t.Context(), ann, upd, contact.Receipt{})
		return redis.HasErrorPrefix(errors.Unwrap(err), "NOREPLICAS")
	}, "the new master refuses")
}
