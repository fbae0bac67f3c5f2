package pending_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
)

func TestNumberOfQueuesIsFixedWhileThereAreContacts(t *testing.T) {
	b := setup(t)
	one, four := b.Contacts, pending.New(b.rdb, pending.Options{Queues: 4})
	require.Equal(t, []string{"spillway"}, one.Queues())
	require.Equal(t, []string{"spillway-0", "spillway-1", "spillway-2", "spillway-3"}, four.Queues())
	require.NoError(t, one.Adopt(b.ctx))
	require.NoError(t, one.Adopt(b.ctx), "each start asks again")
	b.submit(t, ann, upd)

	var other *pending.OtherQueues
	require.ErrorAs(t, four.Adopt(b.ctx), &other)
	require.Equal(t, int64(1), other.Contacts)
	require.ErrorContains(t, other, "Redis keeps contacts of site default in 1 queue(s), SPILLWAY_QUEUES says 4")
	b.submit(t, ann, upd) // whoever was there goes on

	claim := b.claim(t)
	parked, err := claim.Park(b.ctx, pending.Failure{Code: "c"}, "")
	require.NoError(t, err)
	require.True(t, parked)
	require.ErrorAs(t, four.Adopt(b.ctx), &other, "a parked contact is one, too")
	_, err = b.Drop(b.ctx, ann, "")
	require.NoError(t, err)

	require.NoError(t, four.Adopt(b.ctx))
	_, err = one.Submit(b.ctx, ann, upd, contact.Receipt{})
	require.ErrorAs(t, err, &other, "a process that was left behind must not put webhooks where no worker looks")
	require.Equal(t, "4", other.Kept)
	_, err = four.Submit(b.ctx, ann, upd, contact.Receipt{})
	require.NoError(t, err)
	require.ErrorAs(t, one.Adopt(b.ctx), &other)
}

func TestQueuesCanBeChangedBackWhenTheyAreEmpty(t *testing.T) {
	b := setup(t)
	two := pending.New(b.rdb, pending.Options{Queues: 2})
	require.NoError(t, b.Adopt(b.ctx))
	require.NoError(t, two.Adopt(b.ctx))
	require.NoError(t, b.Adopt(b.ctx))
	b.submit(t, ann, upd)
	_, err := two.Submit(b.ctx, ann, upd, contact.Receipt{})
	require.Error(t, err)
}

// cutOff lets so many writes through and none after them.
type cutOff struct{ left int }

func (*cutOff) DialHook(next redis.DialHook) redis.DialHook { return next }
func (*cutOff) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *cutOff) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		asks := slices.Contains(cmd.Args(), any("nx"))
		if name := cmd.Name(); !asks && (name == "set" || name == "evalsha") {
			if c.left--; c.left < 0 {
				return errCutOff
			}
		}
		return next(ctx, cmd)
	}
}

var errCutOff = errors.New("killed")

// A change of the number of queues takes seven writes here: two queues are
// closed, four are opened, and the number is written.
func TestAChangeOfTheNumberOfQueuesThatWasCutOffIsNamedAndFinished(t *testing.T) {
	t.Parallel()
	for writes := 1; writes < 7; writes++ {
		server := redistest.Start(t)
		two := pending.New(server.Client(), pending.Options{Queues: 2})
		require.NoError(t, two.Adopt(t.Context()))
		_, err := two.Submit(t.Context(), ann, upd, contact.Receipt{}) // writes the number beside its queue
		require.NoError(t, err)
		for _, key := range []string{"due", "c:" + ann.String()} {
			for _, queue := range two.Queues() {
				require.NoError(t, server.Client().Del(t.Context(), "spw:{"+queue+"}:"+key).Err())
			}
		}

		killed := server.Client()
		killed.AddHook(&cutOff{left: writes})
		require.ErrorIs(t, pending.New(killed, pending.Options{Queues: 4}).Adopt(t.Context()), errCutOff)

		var other *pending.OtherQueues
		require.ErrorAs(t, two.Adopt(t.Context()), &other, "after %d writes", writes)
		require.ErrorContains(t, other, "from 2 to 4 was cut off")
		four := pending.New(server.Client(), pending.Options{Queues: 4})
		require.NoError(t, four.Adopt(t.Context()))
		_, err = four.Submit(t.Context(), ann, upd, contact.Receipt{})
		require.NoError(t, err)
	}
}
