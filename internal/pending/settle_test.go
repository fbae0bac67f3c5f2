package pending_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/pending"
)

// settling is a bundle whose contacts settle for a minute.
func settling(t *testing.T) *bundle {
	t.Helper()
	b := setup(t)
	b.Contacts = pending.New(b.rdb, pending.Options{Settle: time.Minute})
	return b
}

// age moves the times of ann's record into the past.
func (b *bundle) age(t *testing.T, by time.Duration, fields ...string) {
	t.Helper()
	for _, field := range fields {
		require.NoError(t, b.rdb.HIncrBy(b.ctx, "spw:{spillway}:c:"+ann.String(), field, -by.Milliseconds()).Err())
	}
}

// scheduled returns the ids of the wake-ups that are to come later.
func (b *bundle) scheduled(t *testing.T) []string {
	t.Helper()
	tasks, err := b.inspector.ListScheduledTasks("spillway")
	require.NoError(t, err)
	ids := make([]string, 0, len(tasks))
	for _, task := range tasks {
		ids = append(ids, task.ID)
	}
	return ids
}

func TestPassWaitsUntilItsContactHasSettled(t *testing.T) {
	b := settling(t)
	b.submit(t, ann, upd)
	require.Empty(t, b.wakeUps(t))
	id := b.scheduled(t)[0]
	var unsettled *pending.Unsettled
	_, err := b.Claim(b.ctx, id)
	require.ErrorAs(t, err, &unsettled)
	require.InDelta(t, 60, unsettled.For.Seconds(), 20)
	require.Equal(t, pending.Pending, b.state(t, ann).State)

	b.age(t, 50*time.Second, "since")
	require.True(t, b.submit(t, ann, upd))
	b.age(t, 30*time.Second, "since")
	_, err = b.Claim(b.ctx, id)
	require.ErrorAs(t, err, &unsettled, "the second webhook begins the time anew")
	b.age(t, -24*time.Hour, "since", "last")
	_, err = b.Claim(b.ctx, id)
	require.ErrorAs(t, err, &unsettled)
	require.LessOrEqual(t, unsettled.For, time.Minute, "a clock of Redis that went back is not waited for")
	b.age(t, 24*time.Hour, "since", "last")

	b.age(t, time.Minute, "last")
	claim, err := b.Claim(b.ctx, id)
	require.NoError(t, err)
	require.Equal(t, 2, claim.Covered)
}

func TestSettlingEndsAfterTenTimesItsTime(t *testing.T) {
	b := settling(t)
	b.submit(t, ann, upd)
	id := b.scheduled(t)[0]
	b.age(t, 10*time.Minute, "since")
	b.submit(t, ann, upd)
	_, err := b.Claim(b.ctx, id)
	require.NoError(t, err, "webhooks that never cease must not hold a contact back for ever")
}

func TestOperatorsWishesDoNotSettle(t *testing.T) {
	b := settling(t)
	_, err := b.Resync(b.ctx, ann, upd)
	require.NoError(t, err)
	_, err = b.claim(t).Park(b.ctx, pending.Failure{Code: "c"}, "")
	require.NoError(t, err)
	woken, err := b.RetryParked(b.ctx)
	require.NoError(t, err)
	require.Equal(t, 1, woken)
	for _, id := range b.wakeUps(t) {
		if _, err = b.Claim(b.ctx, id); err == nil {
			return
		}
	}
	require.NoError(t, err, "the contact is looked at now")
}

func TestWebhookDuringAPassSettlesToo(t *testing.T) {
	b := settling(t)
	b.submit(t, ann, upd)
	id := b.scheduled(t)[0]
	b.age(t, time.Minute, "since")
	claim, err := b.Claim(b.ctx, id)
	require.NoError(t, err)
	b.submit(t, ann, contact.Intent{Action: contact.Add})
	again, err := claim.Finish(b.ctx, "")
	require.NoError(t, err)
	require.True(t, again)
	require.InDelta(t, 60, claim.Hold.Seconds(), 20)
	require.Less(t, claim.Waited(), time.Minute, "what waits now is the webhook that came during the pass")
	require.NoError(t, claim.Release(b.ctx, claim.Hold, ""))
	var unsettled *pending.Unsettled
	_, err = b.Claim(b.ctx, id)
	require.ErrorAs(t, err, &unsettled)
}
