package pending_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
	"spillway/internal/pending/shard"
	"spillway/internal/redisconn"
)

// patience is what senders have here: far more than anything takes.
const patience = 30 * time.Second

// listen runs endings until the test ends and returns when they are heard.
func listen(t *testing.T, contacts *pending.Contacts, rdb redis.UniversalClient) *pending.Awaiting {
	t.Helper()
	endings := pending.NewEndings(rdb).Of(pending.NewIntake(contacts))
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		endings.Run(ctx, func(error) {})
	}()
	t.Cleanup(func() {
		cancel()
		<-stopped
	})
	require.Eventually(t, endings.Listening, 30*time.Second, 5*time.Millisecond)
	return endings
}

// waits submits a webhook whose sender waits.
func waits(t *testing.T, endings *pending.Awaiting, ref contact.Ref) *pending.Wait {
	t.Helper()
	_, wait, err := endings.Submit(t.Context(), ref, upd, contact.Receipt{}, patience)
	require.NoError(t, err)
	require.NotNil(t, wait, "the sender may wait")
	t.Cleanup(wait.Leave)
	return wait
}

// goesOn submits a webhook whose sender is not to wait.
func goesOn(t *testing.T, endings *pending.Awaiting, ref contact.Ref, patience time.Duration) {
	t.Helper()
	_, wait, err := endings.Submit(t.Context(), ref, upd, contact.Receipt{}, patience)
	require.NoError(t, err)
	require.Nil(t, wait, "the sender would wait in vain")
}

func hears(t *testing.T, wait *pending.Wait) string {
	t.Helper()
	select {
	case event := <-wait.Ended():
		return event
	case <-time.After(30 * time.Second):
		require.Fail(t, "nothing was heard of the pass")
		return ""
	}
}

func finish(t *testing.T, claim *pending.Claim, event string) (again bool) {
	t.Helper()
	again, err := claim.Finish(t.Context(), event)
	require.NoError(t, err)
	return again
}

// told returns the messages about ends from now on.
func (b *bundle) told(t *testing.T) <-chan *redis.Message {
	t.Helper()
	subscription := b.rdb.Subscribe(b.ctx, "spw:endings")
	t.Cleanup(func() { _ = subscription.Close() })
	_, err := subscription.Receive(b.ctx)
	require.NoError(t, err)
	return subscription.Channel()
}

func TestSenderHearsOfThePassOfItsWebhook(t *testing.T) {
	b := setup(t)
	endings := listen(t, b.Contacts, b.rdb)
	wait := waits(t, endings, ann)
	other := contact.Ref{Site: contact.DefaultSite, ID: "7"}
	bystander := waits(t, endings, other)

	require.False(t, finish(t, b.claim(t), "event one"))
	require.Equal(t, "event one", hears(t, wait))
	require.False(t, finish(t, b.claimOf(t, other), "event two"))
	require.Equal(t, "event two", hears(t, bystander))

	wait.Leave()
	bystander.Leave()
	require.Zero(t, endings.Waiting())
	require.Equal(t, pending.Idle, b.state(t, ann).State)
}

// claimOf claims a contact by its only wake-up.
func (b *bundle) claimOf(t *testing.T, ref contact.Ref) *pending.Claim {
	t.Helper()
	epoch, err := b.rdb.HGet(b.ctx, "spw:{spillway}:c:"+ref.String(), "epoch").Result()
	require.NoError(t, err)
	claim, err := b.Claim(b.ctx, ref.String()+":"+epoch)
	require.NoError(t, err)
	return claim
}

func TestSenderDoesNotHearOfAPassThatBeganBeforeItsWebhook(t *testing.T) {
	b := setup(t)
	endings := listen(t, b.Contacts, b.rdb)
	first := waits(t, endings, ann)
	claim := b.claim(t)
	second := waits(t, endings, ann)

	require.True(t, finish(t, claim, "of the first"))
	require.Equal(t, "of the first", hears(t, first))
	require.False(t, finish(t, claim, "of both"))
	require.Equal(t, "of both", hears(t, second), "the first thing that it hears")
}

// A record ends with its contact's work, and the next one counts its webhooks
// from one again.
func TestSenderDoesNotHearOfAnEarlierRecord(t *testing.T) {
	b := setup(t)
	endings, told := listen(t, b.Contacts, b.rdb), b.told(t)
	waits(t, endings, ann)
	finish(t, b.claim(t), "of the first record")
	late := <-told

	wait := waits(t, endings, ann)
	require.NoError(t, b.rdb.Publish(b.ctx, late.Channel, late.Payload).Err())
	finish(t, b.claimOf(t, ann), "of the second record")
	require.Equal(t, "of the second record", hears(t, wait))
}

func TestSenderHearsThatItsContactIsParked(t *testing.T) {
	b := setup(t)
	endings := listen(t, b.Contacts, b.rdb)
	failure := pending.Failure{Code: "no_email", Text: "the contact has none"}
	first := waits(t, endings, ann)
	claim := b.claim(t)
	second := waits(t, endings, ann)
	parked, err := claim.Park(b.ctx, failure, "too early")
	require.NoError(t, err)
	require.False(t, parked, "the second webhook may have mended the contact")
	require.NoError(t, claim.Release(b.ctx, 0, "overtaken"))

	claim = b.claim(t)
	parked, err = claim.Park(b.ctx, failure, "parked")
	require.NoError(t, err)
	require.True(t, parked)
	require.Equal(t, "parked", hears(t, first))
	require.Equal(t, "parked", hears(t, second))

	third := waits(t, endings, ann)
	finish(t, b.claimOf(t, ann), "mended")
	require.Equal(t, "mended", hears(t, third))
}

func TestSenderGoesOnWaitingWhileItsContactIsTriedAgain(t *testing.T) {
	b := setup(t)
	endings, told := listen(t, b.Contacts, b.rdb), b.told(t)
	wait := waits(t, endings, ann)
	claim := b.claim(t)
	require.NoError(t, claim.Retry(b.ctx, time.Second, true, pending.Failure{Code: "failed"}, "failed once"))
	claim = b.claim(t)
	require.NoError(t, claim.Release(b.ctx, 0, ""))
	finish(t, b.claim(t), "at last")
	require.Equal(t, "at last", hears(t, wait))
	require.Contains(t, (<-told).Payload, "at last", "nothing else was told")
}

// A worker that is killed leaves its claim to the sweep.
func TestSenderHearsOfThePassAfterAKilledWorkers(t *testing.T) {
	b := setup(t)
	endings := listen(t, b.Contacts, b.rdb)
	wait := waits(t, endings, ann)
	b.claim(t)
	require.NoError(t, b.rdb.HDel(b.ctx, "spw:{spillway}:c:"+ann.String(), "lock_until").Err())
	require.NoError(t, b.inspector.DeleteTask("spillway", b.wakeUps(t)[0]))
	b.makeDue(t, ann)
	require.Equal(t, 1, b.sweep(t))
	finish(t, b.claim(t), "by another worker")
	require.Equal(t, "by another worker", hears(t, wait))
}

func TestNothingIsToldWhereNobodyWaits(t *testing.T) {
	b := setup(t)
	endings, told := listen(t, b.Contacts, b.rdb), b.told(t)
	goesOn(t, endings, ann, 0)
	finish(t, b.claim(t), "for nobody")
	waits(t, endings, ann)
	finish(t, b.claimOf(t, ann), "for somebody")
	require.Contains(t, (<-told).Payload, "for somebody")
}

func TestNobodyWaitsInABurst(t *testing.T) {
	b := setup(t)
	endings := listen(t, b.Contacts, b.rdb)
	const all, four = 400, 4 * time.Second
	may := make(chan bool, all)
	for i := range all {
		go func() {
			_, wait, err := endings.Submit(b.ctx, contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(i + 1)}, upd, contact.Receipt{}, four)
			may <- err == nil && wait != nil
		}()
	}
	waiting := 0
	for range all {
		if <-may {
			waiting++
		}
	}
	require.Equal(t, 21, waiting, "ten are served in a second, and half of the time is for the pass")
	lives := 0
	for i := range all {
		if b.rdb.HExists(b.ctx, "spw:{spillway}:c:default:"+strconv.Itoa(i+1), "life").Val() {
			lives++
		}
	}
	require.Equal(t, waiting, lives, "the ends of the others are told to nobody")
	require.Equal(t, waiting, endings.Waiting())
}

func TestQueueThatIsServedFastLetsMoreWait(t *testing.T) {
	b := setup(t)
	endings := listen(t, b.Contacts, b.rdb)
	for i := range 100 {
		b.submit(t, contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(1000 + i)}, upd)
	}
	goesOn(t, endings, ann, 4*time.Second)
	now, err := b.rdb.Time(b.ctx).Result()
	require.NoError(t, err)
	for _, minute := range []int64{now.Unix()/60 - 1, now.Unix() / 60, now.Unix()/60 + 1} {
		key := shard.Counts("spillway") + "m:" + strconv.FormatInt(minute/60, 10)
		require.NoError(t, b.rdb.HSet(b.ctx, key, strconv.FormatInt(minute%60, 10)+":synced", 100*60).Err())
	}
	waits(t, endings, ann)
}

func TestNobodyWaitsForAPassThatBeginsLate(t *testing.T) {
	b := setup(t)
	endings := listen(t, b.Contacts, b.rdb)
	b.submit(t, ann, upd)
	claim := b.claim(t)
	require.NoError(t, claim.Retry(b.ctx, time.Minute, false, pending.Failure{Code: "outage"}, ""))
	goesOn(t, endings, ann, patience)
	claim = b.claim(t)
	require.NoError(t, claim.Retry(b.ctx, time.Second, false, pending.Failure{Code: "outage"}, ""))
	waits(t, endings, ann)

	require.NoError(t, b.Pause(b.ctx))
	goesOn(t, endings, contact.Ref{Site: contact.DefaultSite, ID: "7"}, patience)
	require.NoError(t, b.Resume(b.ctx))

	settling := listen(t, pending.New(b.rdb, pending.Options{Settle: 40 * time.Second}), b.rdb)
	goesOn(t, settling, contact.Ref{Site: contact.DefaultSite, ID: "8"}, patience)
	require.Equal(t, 1, endings.Waiting())
	require.Zero(t, settling.Waiting())
}

func TestNobodyWaitsWhileNothingIsHeard(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	contacts := pending.New(rdb, pending.Options{})
	endings := listen(t, contacts, rdb)
	waits(t, endings, ann)
	require.NoError(t, rdb.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err())
	require.Eventually(t, endings.Listening, 30*time.Second, time.Millisecond, "it subscribes again")
	server.Kill()
	require.Eventually(t, func() bool { return !endings.Listening() }, 30*time.Second, time.Millisecond)
	_, wait, err := endings.Submit(t.Context(), ann, upd, contact.Receipt{}, patience)
	require.Error(t, err)
	require.Nil(t, wait)
	server.Restart()
	require.Eventually(t, endings.Listening, 30*time.Second, time.Millisecond)
	require.Equal(t, 1, endings.Waiting(), "who waited goes on")

	deaf := pending.NewEndings(rdb).Of(pending.NewIntake(contacts))
	goesOn(t, deaf, ann, patience)
}

// Redis gives users no channels unless it is told to.
func TestPassesEndWhereRedisLetsNobodyPublish(t *testing.T) {
	b := setup(t)
	wait := waits(t, listen(t, b.Contacts, b.rdb), ann)
	require.NoError(t, b.rdb.Do(b.ctx, "ACL", "SETUSER", "worker", "on", ">secret", "~*", "+@all", "resetchannels").Err())
	mute := redis.NewClient(&redis.Options{Addr: b.rdb.Options().Addr, Username: "worker", Password: "secret"})
	t.Cleanup(func() { _ = mute.Close() })
	claim, err := pending.New(mute, pending.Options{}).Claim(b.ctx, b.wakeUps(t)[0])
	require.NoError(t, err)
	require.False(t, finish(t, claim, "event"))
	require.Equal(t, pending.Idle, b.state(t, ann).State)
	require.Empty(t, wait.Ended())

	refused := make(chan error, 1)
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	endings := pending.NewEndings(mute).Of(pending.NewIntake(b.Contacts))
	go endings.Run(ctx, func(err error) { refused <- err; cancel() })
	require.ErrorContains(t, <-refused, "NOPERM")
}

func TestScriptThatIsSentTwiceTellsTheTruth(t *testing.T) {
	b := setup(t)
	endings := listen(t, b.Contacts, b.rdb)
	b.rdb.AddHook(twice{})
	wait := waits(t, endings, ann)
	claim := b.claim(t)
	require.False(t, finish(t, claim, "event"))
	require.Equal(t, "event", hears(t, wait))
}

func TestEndingsAreHeardAfterASentinelFailover(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t)
	rdb, err := redisconn.Open(sentinel.URL(), redisconn.ForWorker)
	require.NoError(t, err)
	t.Cleanup(func() { _ = rdb.Close() })
	contacts := pending.New(rdb, pending.Options{})
	endings := listen(t, contacts, rdb)
	waits(t, endings, ann)

	sentinel.Master.Kill()
	sentinel.AwaitPromotion()
	hearsAgain(t, contacts, endings, rdb, contact.Ref{Site: contact.DefaultSite, ID: "777777"})
}

func TestEndingsAreHeardAllOverACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	rdb, err := redisconn.Open(cluster.URL(), redisconn.ForWorker)
	require.NoError(t, err)
	t.Cleanup(func() { _ = rdb.Close() })
	contacts := pending.New(rdb, pending.Options{Queues: 6})
	endings := listen(t, contacts, rdb)
	masters := map[int]bool{}
	for id := 1; len(masters) < len(cluster.Masters); id++ {
		ref := contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(id)}
		masters[cluster.MasterOf("{"+shard.Over(contact.DefaultSite, 6).Of(ref)+"}")] = true
		wait := waits(t, endings, ref)
		finishOn(t, contacts, rdb, ref)
		require.Equal(t, "event", hears(t, wait))
	}

	victim := cluster.MasterOf("spw:endings")
	cluster.Masters[victim].Kill()
	cluster.AwaitPromotion(victim)
	hearsAgain(t, contacts, endings, rdb, contact.Ref{Site: contact.DefaultSite, ID: "777777"})
}

// finishOn runs a contact's pass.
func finishOn(t *testing.T, contacts *pending.Contacts, rdb redis.UniversalClient, ref contact.Ref) {
	t.Helper()
	queue := shard.Over(contact.DefaultSite, len(contacts.Queues())).Of(ref)
	epoch, err := rdb.HGet(t.Context(), shard.Prefix(queue)+"c:"+ref.String(), "epoch").Result()
	require.NoError(t, err)
	claim, err := contacts.Claim(t.Context(), ref.String()+":"+epoch)
	require.NoError(t, err)
	finish(t, claim, "event")
}

// hearsAgain requires that ends are heard again, sooner or later.
func hearsAgain(t *testing.T, contacts *pending.Contacts, endings *pending.Awaiting, rdb redis.UniversalClient, ref contact.Ref) {
	t.Helper()
	polltest.Until(t, 90*time.Second, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, wait, err := endings.Submit(ctx, ref, upd, contact.Receipt{}, patience)
		if err != nil {
			return false
		}
		finishOn(t, contacts, rdb, ref)
		if wait == nil {
			return false
		}
		defer wait.Leave()
		select {
		case event := <-wait.Ended():
			return event == "event"
		case <-time.After(2 * time.Second): // a message was lost: that is allowed
			return false
		}
	}, "the end is heard of")
}
