package pending_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
)

type bundle struct {
	*pending.Contacts
	rdb       *redis.Client
	inspector *asynq.Inspector
	ctx       context.Context
}

var (
	ann = contact.Ref{Site: contact.DefaultSite, ID: "123"}
	upd = contact.Intent{Action: contact.Update}
)

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	rdb := redistest.Start(t).Client()
	// asynq is told of its queues now and then; the inspector asks at once.
	require.NoError(t, rdb.SAdd(t.Context(), "asynq:queues", "spillway").Err())
	return &bundle{
		Contacts: pending.New(rdb, pending.Options{}), rdb: rdb,
		inspector: asynq.NewInspectorFromRedisClient(rdb), ctx: t.Context(),
	}
}

func (b *bundle) submit(t *testing.T, ref contact.Ref, intent contact.Intent) bool {
	t.Helper()
	coalesced, err := b.Submit(b.ctx, ref, intent, contact.Receipt{RequestID: "r"})
	require.NoError(t, err)
	return coalesced
}

// wakeUps returns the ids of the waiting wake-ups.
func (b *bundle) wakeUps(t *testing.T) []string {
	t.Helper()
	tasks, err := b.inspector.ListPendingTasks("spillway", asynq.PageSize(1000))
	require.NoError(t, err)
	ids := make([]string, 0, len(tasks))
	for _, task := range tasks {
		ids = append(ids, task.ID)
	}
	return ids
}

func (b *bundle) claim(t *testing.T) *pending.Claim {
	t.Helper()
	ids := b.wakeUps(t)
	claim, err := b.Claim(b.ctx, ids[0])
	require.NoError(t, err)
	return claim
}

// makeDue moves a contact's next check into the past.
func (b *bundle) makeDue(t *testing.T, ref contact.Ref) {
	t.Helper()
	require.NoError(t, b.rdb.ZAddXX(b.ctx, "spw:{spillway}:due", redis.Z{Score: 1, Member: ref.String()}).Err())
}

func (b *bundle) state(t *testing.T, ref contact.Ref) pending.Record {
	t.Helper()
	record, err := b.Lookup(b.ctx, ref)
	require.NoError(t, err)
	return record
}

func (b *bundle) sweep(t *testing.T) int {
	t.Helper()
	woken, err := b.Sweep(b.ctx)
	require.NoError(t, err)
	return woken
}

func TestWebhooksOfOneContactCoalesceIntoOneWakeUp(t *testing.T) {
	b := setup(t)
	require.False(t, b.submit(t, ann, contact.Intent{Action: contact.Add, Role: "customer", Notify: true}))
	require.True(t, b.submit(t, ann, contact.Intent{Action: contact.UpdateTags}))
	require.True(t, b.submit(t, ann, contact.Intent{Action: contact.Update, Role: "subscriber"}))
	require.Len(t, b.wakeUps(t), 1)

	claim := b.claim(t)
	require.Equal(t, contact.Intent{Action: contact.Add, Role: "subscriber", Notify: true}, claim.Intent)
	require.WithinDuration(t, time.Now(), claim.Since, 30*time.Second)
}

func TestFinishedContactLeavesNothingButCounters(t *testing.T) {
	b := setup(t)
	b.submit(t, ann, upd)
	claim := b.claim(t)
	again, err := claim.Finish(b.ctx, "")
	require.NoError(t, err)
	require.False(t, again)
	keys, err := b.rdb.Keys(b.ctx, "spw:*").Result()
	require.NoError(t, err)
	for _, key := range keys {
		require.Regexp(t, `^spw:(queues|\{spillway\}:(stats|queues|n:[mh]:\d+))$`, key)
	}
	require.Equal(t, pending.Idle, b.state(t, ann).State)
}

func TestUpdateDuringPassCausesAnotherPass(t *testing.T) {
	b := setup(t)
	b.submit(t, ann, upd)
	claim := b.claim(t)
	require.True(t, b.submit(t, ann, contact.Intent{Action: contact.Add, Role: "customer"}))

	again, err := claim.Finish(b.ctx, "")
	require.NoError(t, err)
	require.True(t, again)
	require.Equal(t, contact.Intent{Action: contact.Add, Role: "customer"}, claim.Intent)
	require.Equal(t, pending.Active, b.state(t, ann).State)

	again, err = claim.Finish(b.ctx, "")
	require.NoError(t, err)
	require.False(t, again)
}

func TestEachPassOfAContactHasAHigherNumber(t *testing.T) {
	b := setup(t)
	before, err := b.rdb.Time(b.ctx).Result()
	require.NoError(t, err)
	b.submit(t, ann, upd)
	claim := b.claim(t)
	numbers := []int64{before.UnixMicro(), claim.AsOf}

	b.submit(t, ann, upd)
	again, err := claim.Finish(b.ctx, "")
	require.NoError(t, err)
	require.True(t, again)
	numbers = append(numbers, claim.AsOf) // in place
	require.NoError(t, claim.Release(b.ctx, 0, ""))
	claim = b.claim(t)
	numbers = append(numbers, claim.AsOf) // claimed again

	again, err = claim.Finish(b.ctx, "")
	require.NoError(t, err)
	require.False(t, again)
	require.NoError(t, b.inspector.DeleteTask("spillway", b.wakeUps(t)[0]))
	b.submit(t, ann, upd)
	numbers = append(numbers, b.claim(t).AsOf) // a new record
	after, err := b.rdb.Time(b.ctx).Result()
	require.NoError(t, err)
	numbers = append(numbers, after.UnixMicro())
	for i := 1; i < len(numbers); i++ {
		require.Greater(t, numbers[i], numbers[i-1], "%v", numbers)
	}
}

func TestReleasedContactIsClaimedAgainByItsWakeUp(t *testing.T) {
	b := setup(t)
	b.submit(t, ann, upd)
	claim := b.claim(t)
	require.NoError(t, claim.Release(b.ctx, 0, ""))
	require.Equal(t, pending.Pending, b.state(t, ann).State)
	b.claim(t)
}

func TestOnlyOneClaimAtATime(t *testing.T) {
	b := setup(t)
	b.submit(t, ann, upd)
	b.claim(t)
	_, err := b.Claim(b.ctx, b.wakeUps(t)[0])
	var busy *pending.Busy
	require.ErrorAs(t, err, &busy)
	require.InDelta(t, pending.Lock.Seconds(), busy.For.Seconds(), 5)
}

func TestWakeUpOfAnotherEpochIsStale(t *testing.T) {
	b := setup(t)
	_, err := b.Claim(b.ctx, ann.String()+":beef")
	require.ErrorIs(t, err, pending.ErrStale)
	b.submit(t, ann, upd)
	_, err = b.Claim(b.ctx, ann.String()+":beef")
	require.ErrorIs(t, err, pending.ErrStale)
	for _, id := range []string{"", ":", "x", "default:0:e", "default:-1:e", "default:12 :e"} {
		_, err = b.Claim(b.ctx, id)
		require.ErrorIs(t, err, pending.ErrStale, id)
	}
}

func TestRetryKeepsTheContactWithItsFailure(t *testing.T) {
	b := setup(t)
	b.submit(t, ann, upd)
	claim := b.claim(t)
	require.NoError(t, claim.Retry(b.ctx, time.Minute, true, pending.Failure{Code: "c", Text: "why"}, "event"))
	record := b.state(t, ann)
	require.Equal(t, pending.Retrying, record.State)
	require.Equal(t, 1, record.Attempts)
	require.Equal(t, pending.Failure{Code: "c", Text: "why"}, record.Failure)
	require.WithinDuration(t, time.Now().Add(time.Minute), record.Next, 30*time.Second)

	claim = b.claim(t)
	require.Equal(t, 1, claim.Attempts)
	require.NoError(t, claim.Retry(b.ctx, 0, false, pending.Failure{Code: "o"}, "event"))
	claim = b.claim(t)
	require.Equal(t, 1, claim.Attempts, "an outage must not use up an attempt")
	require.Equal(t, 2, claim.Tries)
}

func TestParkedContactWaitsForItsNextWebhook(t *testing.T) {
	b := setup(t)
	b.submit(t, ann, contact.Intent{Action: contact.Add})
	claim := b.claim(t)
	parked, err := claim.Park(b.ctx, pending.Failure{Code: "no_email", Text: "the contact has no email"}, "event")
	require.NoError(t, err)
	require.True(t, parked)
	require.Equal(t, pending.Parked, b.state(t, ann).State)
	require.NoError(t, b.inspector.DeleteTask("spillway", b.wakeUps(t)[0]))
	b.makeDue(t, ann)
	require.Zero(t, b.sweep(t), "the sweep must leave parked contacts alone")
	list, err := b.ListParked(b.ctx, 0, 10)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "no_email", list[0].Failure.Code)

	require.True(t, b.submit(t, ann, upd))
	require.Equal(t, pending.Pending, b.state(t, ann).State)
	claim = b.claim(t)
	require.Zero(t, claim.Attempts)
	require.Equal(t, contact.Add, claim.Intent.Action, "the parked add is still to be done")
}

func TestWebhookDuringPassPreventsParking(t *testing.T) {
	b := setup(t)
	b.submit(t, ann, upd)
	claim := b.claim(t)
	b.submit(t, ann, upd)
	parked, err := claim.Park(b.ctx, pending.Failure{Code: "c"}, "event")
	require.NoError(t, err)
	require.False(t, parked)
	require.NoError(t, claim.Release(b.ctx, 0, ""))
	b.claim(t)
}

func TestOperatorRetriesParkedAndWaitingContacts(t *testing.T) {
	b := setup(t)
	bob := contact.Ref{Site: contact.DefaultSite, ID: "9"}
	b.submit(t, ann, upd)
	_, err := b.claim(t).Park(b.ctx, pending.Failure{Code: "c"}, "event")
	require.NoError(t, err)
	woken, err := b.RetryParked(b.ctx)
	require.NoError(t, err)
	require.Equal(t, 1, woken)
	require.Equal(t, pending.Pending, b.state(t, ann).State)

	found, err := b.Retry(b.ctx, bob)
	require.NoError(t, err)
	require.False(t, found)

	b.submit(t, bob, upd)
	stale := b.wakeUps(t)
	found, err = b.Retry(b.ctx, bob)
	require.NoError(t, err)
	require.True(t, found)
	require.NotEqual(t, stale, b.wakeUps(t), "a waiting contact gets a wake-up for now")
}

func TestResyncMakesARetryingContactRunNow(t *testing.T) {
	b := setup(t)
	coalesced, err := b.Resync(b.ctx, ann, contact.Intent{Action: contact.UpdateTags})
	require.NoError(t, err)
	require.False(t, coalesced)
	require.NoError(t, b.claim(t).Retry(b.ctx, time.Hour, true, pending.Failure{Code: "c"}, "event"))
	coalesced, err = b.Resync(b.ctx, ann, contact.Intent{Action: contact.Add})
	require.NoError(t, err)
	require.True(t, coalesced)
	stats, err := b.Stats(b.ctx)
	require.NoError(t, err)
	stats.Oldest = time.Time{}
	require.Equal(t, pending.Stats{Failed: 1, Pending: 1}, stats, "the operator's wish is no webhook")
	ids := b.wakeUps(t)
	claim, err := b.Claim(b.ctx, ids[len(ids)-1])
	if err != nil { // the newest may be listed first
		claim, err = b.Claim(b.ctx, ids[0])
	}
	require.NoError(t, err)
	require.Equal(t, contact.Add, claim.Intent.Action)
}

func TestSweepWakesContactsWhoseWakeUpIsLost(t *testing.T) {
	task := func(id string) string { return "asynq:{spillway}:t:" + id }
	for name, lose := range map[string]func(t *testing.T, b *bundle, id string){
		"deleted": func(t *testing.T, b *bundle, id string) {
			require.NoError(t, b.inspector.DeleteTask("spillway", id))
		},
		"archived": func(t *testing.T, b *bundle, id string) {
			require.NoError(t, b.inspector.ArchiveTask("spillway", id))
		},
		"completed": func(t *testing.T, b *bundle, id string) {
			require.NoError(t, b.rdb.HSet(b.ctx, task(id), "state", "completed").Err())
		},
		"active without a lease": func(t *testing.T, b *bundle, id string) {
			require.NoError(t, b.rdb.HSet(b.ctx, task(id), "state", "active").Err())
		},
		"active with a lease that ended": func(t *testing.T, b *bundle, id string) {
			require.NoError(t, b.rdb.HSet(b.ctx, task(id), "state", "active").Err())
			require.NoError(t, b.rdb.ZAdd(b.ctx, "asynq:{spillway}:lease", redis.Z{Score: 1, Member: id}).Err())
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.submit(t, ann, upd)
			id := b.wakeUps(t)[0]
			lose(t, b, id)
			require.Zero(t, b.sweep(t), "the contact is not due yet")
			b.makeDue(t, ann)
			require.Equal(t, 1, b.sweep(t))
			require.Zero(t, b.sweep(t))
			ids := b.wakeUps(t)
			_, err := b.Claim(b.ctx, id)
			require.ErrorIs(t, err, pending.ErrStale)
			require.Equal(t, upd, func() contact.Intent {
				for _, next := range ids {
					if claim, err := b.Claim(b.ctx, next); err == nil {
						return claim.Intent
					}
				}
				return contact.Intent{}
			}())
		})
	}
}

func TestSweepLeavesLivingWakeUpsAlone(t *testing.T) {
	b := setup(t)
	b.submit(t, ann, upd)
	b.makeDue(t, ann)
	require.Zero(t, b.sweep(t), "waiting in asynq's queue")

	id := b.wakeUps(t)[0]
	require.NoError(t, b.rdb.HSet(b.ctx, "asynq:{spillway}:t:"+id, "state", "active").Err())
	lease := redis.Z{Score: float64(time.Now().Add(time.Minute).Unix()), Member: id}
	require.NoError(t, b.rdb.ZAdd(b.ctx, "asynq:{spillway}:lease", lease).Err())
	b.makeDue(t, ann)
	require.Zero(t, b.sweep(t), "held by a worker")

	_, err := b.Claim(b.ctx, id)
	require.NoError(t, err)
	require.NoError(t, b.rdb.Del(b.ctx, "asynq:{spillway}:lease").Err())
	b.makeDue(t, ann)
	require.Zero(t, b.sweep(t), "locked by a pass")
}

func TestClaimWhoseLockEndedLosesToTheSweep(t *testing.T) {
	b := setup(t)
	b.submit(t, ann, upd)
	claim := b.claim(t)
	require.NoError(t, b.rdb.HSet(b.ctx, "spw:{spillway}:c:"+ann.String(), "lock_until", 1).Err())
	require.NoError(t, b.inspector.DeleteTask("spillway", b.wakeUps(t)[0]))
	b.makeDue(t, ann)
	require.Equal(t, 1, b.sweep(t))

	_, err := claim.Finish(b.ctx, "")
	require.ErrorIs(t, err, pending.ErrLost)
	require.ErrorIs(t, claim.Release(b.ctx, 0, ""), pending.ErrLost)
	_, err = claim.Park(b.ctx, pending.Failure{}, "event")
	require.ErrorIs(t, err, pending.ErrLost)
	b.claim(t)
}

func TestArchivedWakeUpDoesNotSwallowTheNextWebhook(t *testing.T) {
	b := setup(t)
	b.submit(t, ann, upd)
	require.NoError(t, b.inspector.ArchiveTask("spillway", b.wakeUps(t)[0]))
	b.submit(t, ann, upd)
	require.Len(t, b.wakeUps(t), 1)
	b.claim(t)
}

func TestStatesAreExclusiveInTheStats(t *testing.T) {
	b := setup(t)
	for _, id := range []string{"1", "2", "3", "4"} {
		b.submit(t, contact.Ref{Site: contact.DefaultSite, ID: id}, upd)
	}
	b.submit(t, contact.Ref{Site: contact.DefaultSite, ID: "4"}, upd)
	for _, id := range b.wakeUps(t) {
		if strings.HasPrefix(id, "default:4:") {
			continue
		}
		claim, err := b.Claim(b.ctx, id)
		require.NoError(t, err)
		switch claim.Ref.ID {
		case "1":
			require.NoError(t, claim.Retry(b.ctx, time.Minute, true, pending.Failure{Code: "c"}, "event"))
		case "2":
			_, err = claim.Park(b.ctx, pending.Failure{Code: "c"}, "event")
			require.NoError(t, err)
		}
	}
	stats, err := b.Stats(b.ctx)
	require.NoError(t, err)
	stats.Oldest, stats.LastWebhook = time.Time{}, time.Time{}
	require.Equal(t, pending.Stats{
		Received: 5, Coalesced: 1, Failed: 2, Pending: 1, Active: 1, Retrying: 1, Parked: 1,
	}, stats)
}

func TestTheLastWebhookIsRememberedAndNothingElseCountsAsOne(t *testing.T) {
	b := setup(t)
	now := func() time.Time {
		at, err := b.rdb.Time(b.ctx).Result()
		require.NoError(t, err)
		return at.Truncate(time.Millisecond)
	}
	stats, err := b.Stats(b.ctx)
	require.NoError(t, err)
	require.Zero(t, stats.LastWebhook)

	before := now()
	b.submit(t, ann, upd)
	after := now()
	stats, err = b.Stats(b.ctx)
	require.NoError(t, err)
	last := stats.LastWebhook
	require.False(t, last.Before(before) || last.After(after), "%s is not between %s and %s", last, before, after)

	require.Eventually(t, func() bool { return now().After(last) }, 30*time.Second, time.Millisecond)
	_, err = b.Resync(b.ctx, ann, upd)
	require.NoError(t, err)
	_, err = b.Retry(b.ctx, ann)
	require.NoError(t, err)
	stats, err = b.Stats(b.ctx)
	require.NoError(t, err)
	require.Equal(t, last, stats.LastWebhook)
}

func TestSubmitFailsWhenRedisIsAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	contacts := pending.New(server.Client(), pending.Options{})
	server.Kill()
	_, err := contacts.Submit(t.Context(), ann, upd, contact.Receipt{})
	require.ErrorContains(t, err, "recording contact default:123")
}

func TestContactsSurviveAKilledRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendfsync", "always")
	contacts := pending.New(server.Client(), pending.Options{})
	_, err := contacts.Submit(t.Context(), ann, upd, contact.Receipt{})
	require.NoError(t, err)
	server.Kill()
	server.Restart()
	record, err := contacts.Lookup(t.Context(), ann)
	require.NoError(t, err)
	require.Equal(t, pending.Pending, record.State)
}
