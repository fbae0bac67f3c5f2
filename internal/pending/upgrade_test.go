package pending_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
)

// What a version without sites left in Redis is that of the site "default": the
// names of the keys are written out, since they must not change.
func TestContactsFromBeforeThereWereSitesAreThoseOfTheDefaultSite(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	ctx := t.Context()
	const id = "default:7:an-epoch"
	require.NoError(t, rdb.Set(ctx, "spw:queues", "1", 0).Err())
	require.NoError(t, rdb.Set(ctx, "spw:{spillway}:queues", "1", 0).Err())
	require.NoError(t, rdb.HSet(ctx, "spw:{spillway}:c:default:7", "epoch", "an-epoch", "gen", "2", "action", "3", "since", "1700000000000").Err())
	require.NoError(t, rdb.ZAdd(ctx, "spw:{spillway}:due", redis.Z{Score: 1700000015000, Member: "default:7"}).Err())
	require.NoError(t, rdb.HSet(ctx, "asynq:{spillway}:t:"+id, "state", "pending").Err())
	require.NoError(t, rdb.LPush(ctx, "asynq:{spillway}:pending", id).Err())
	require.NoError(t, rdb.HSet(ctx, "spw:{spillway}:c:default:8", "epoch", "another", "gen", "1", "action", "2", "since", "1700000000000", "parked", "1700000001000", "code", "no_email").Err())
	require.NoError(t, rdb.ZAdd(ctx, "spw:{spillway}:parked", redis.Z{Score: 1700000001000, Member: "default:8"}).Err())

	contacts := pending.New(rdb, pending.Options{Site: contact.DefaultSite})
	require.NoError(t, contacts.Adopt(ctx))
	require.Equal(t, []string{"spillway"}, contacts.Queues())
	stats, err := contacts.Stats(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 1, stats.Pending)
	require.EqualValues(t, 1, stats.Parked)
	claim, err := contacts.Claim(ctx, id)
	require.NoError(t, err)
	require.Equal(t, contact.Intent{Action: contact.Add}, claim.Intent)
	again, err := claim.Finish(ctx, "")
	require.NoError(t, err)
	require.False(t, again)
	woken, err := contacts.RetryParked(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, woken)

	// Another site sees none of it.
	stats, err = pending.New(rdb, pending.Options{Site: "shop"}).Stats(ctx)
	require.NoError(t, err)
	require.Equal(t, pending.Stats{}, stats)
}
