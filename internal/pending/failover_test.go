package pending_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
	"spillway/internal/pending/shard"
	"spillway/internal/redisconn"
)

// promised submits contacts until n are on a replica as well, and returns them.
// WAIT speaks for the connection it is sent on, so each webhook of a queue goes
// over one connection to the queue's master.
func promised(t *testing.T, queues shard.Queues, master func(queue string) *redis.Client, n int) []contact.Ref {
	t.Helper()
	var refs []contact.Ref
	for id := 1; len(refs) < n; id++ {
		ref := contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(id)}
		client := master(queues.Of(ref))
		contacts := pending.New(client, pending.Options{Queues: len(queues)})
		_, err := contacts.Submit(t.Context(), ref, upd, contact.Receipt{})
		require.NoError(t, err)
		if replicas, err := client.Do(t.Context(), "WAIT", 1, 5000).Int(); err == nil && replicas >= 1 {
			refs = append(refs, ref)
		}
	}
	return refs
}

// lone is a client with one connection.
func lone(t *testing.T, addr string) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 1, MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// drain claims and finishes every contact and returns how many there were.
func drain(t *testing.T, contacts *pending.Contacts, rdb redis.UniversalClient) map[contact.Ref]bool {
	t.Helper()
	done := make(map[contact.Ref]bool)
	for _, queue := range contacts.Queues() {
		ids, err := rdb.LRange(t.Context(), "asynq:{"+queue+"}:pending", 0, -1).Result()
		require.NoError(t, err)
		for _, id := range ids {
			claim, err := contacts.Claim(t.Context(), id)
			require.NoError(t, err)
			again, err := claim.Finish(t.Context(), "event")
			require.NoError(t, err)
			require.False(t, again)
			done[claim.Ref] = true
		}
	}
	return done
}

func eventuallySubmits(t *testing.T, contacts *pending.Contacts, ref contact.Ref) {
	t.Helper()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := contacts.Submit(ctx, ref, upd, contact.Receipt{})
		return err == nil
	}, 60*time.Second, 50*time.Millisecond, "webhooks are taken again after a failure")
}

func TestClusterLosesNoReplicatedContactWithItsMaster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	rdb, err := redisconn.Open(cluster.URL(), redisconn.ForWorker)
	require.NoError(t, err)
	t.Cleanup(func() { _ = rdb.Close() })
	const queues = 6
	contacts := pending.New(rdb, pending.Options{Queues: queues})
	names := shard.Over(contact.DefaultSite, queues)
	require.NoError(t, contacts.Adopt(t.Context()))

	masters := make([]*redis.Client, len(cluster.Masters))
	for i, master := range cluster.Masters {
		masters[i] = lone(t, master.Addr)
	}
	used := make(map[int]bool)
	refs := promised(t, names, func(queue string) *redis.Client {
		master := cluster.MasterOf("{" + queue + "}")
		used[master] = true
		return masters[master]
	}, 120)
	require.Greater(t, len(used), 1, "queues lie on more than one master")

	stats, err := contacts.Stats(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, stats.Pending, int64(120))

	victim := cluster.MasterOf("{" + names.Of(refs[0]) + "}")
	cluster.Masters[victim].Kill()
	cluster.AwaitPromotion(victim)
	late := contact.Ref{Site: contact.DefaultSite, ID: "777777"}
	for id := 777777; names.Of(late) != names.Of(refs[0]); id++ {
		late.ID = strconv.Itoa(id)
	}
	eventuallySubmits(t, contacts, late)

	// Every operation over all queues works on what is left.
	require.NoError(t, contacts.Pause(t.Context()))
	paused, err := contacts.Paused(t.Context())
	require.NoError(t, err)
	require.True(t, paused)
	require.NoError(t, contacts.Resume(t.Context()))
	_, err = contacts.Sweep(t.Context())
	require.NoError(t, err)
	done := drain(t, contacts, rdb)
	for _, ref := range append(refs, late) {
		require.True(t, done[ref], "contact %s was promised and is lost", ref)
	}
	stats, err = contacts.Stats(t.Context())
	require.NoError(t, err)
	require.Zero(t, stats.Pending+stats.Active+stats.Retrying)
}

func TestIntakeOnAClusterGathersByQueue(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	rdb, err := redisconn.Open(cluster.URL(), redisconn.ForIngest)
	require.NoError(t, err)
	t.Cleanup(func() { _ = rdb.Close() })
	contacts := pending.New(rdb, pending.Options{Queues: 5})
	intake := pending.NewIntake(contacts)
	errs := make(chan error, 500)
	for i := range cap(errs) {
		go func() {
			_, err := intake.Submit(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(i + 1)}, upd, contact.Receipt{})
			errs <- err
		}()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	stats, err := contacts.Stats(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(500), stats.Pending)
	require.Eventually(t, func() bool {
		return rdb.SCard(t.Context(), "asynq:queues").Val() == 5
	}, 10*time.Second, 10*time.Millisecond)
}

func TestSentinelFailoverLosesNoReplicatedContact(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t)
	require.True(t, strings.HasPrefix(sentinel.URL(), "redis-sentinel://"))
	rdb, err := redisconn.Open(sentinel.URL(), redisconn.ForWorker)
	require.NoError(t, err)
	t.Cleanup(func() { _ = rdb.Close() })
	contacts := pending.New(rdb, pending.Options{})
	master := lone(t, sentinel.Master.Addr)
	refs := promised(t, shard.Over(contact.DefaultSite, 1), func(string) *redis.Client { return master }, 100)

	sentinel.Master.Kill()
	sentinel.AwaitPromotion()
	late := contact.Ref{Site: contact.DefaultSite, ID: "777777"}
	eventuallySubmits(t, contacts, late)
	done := drain(t, contacts, rdb)
	for _, ref := range append(refs, late) {
		require.True(t, done[ref], "contact %s was promised and is lost", ref)
	}
}
