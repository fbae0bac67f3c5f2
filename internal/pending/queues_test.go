package pending_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
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
	require.ErrorContains(t, other, "Redis keeps contacts in 1 queue(s), SPILLWAY_QUEUES says 4")
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
