package pending_test

import (
	"context"
	"slices"
	"strconv"
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

// asynqKeys returns what asynq's keys hold, with the times that differ from one
// run to the next taken out.
func asynqKeys(t *testing.T, rdb *redis.Client) map[string]any {
	t.Helper()
	keys, err := rdb.Keys(t.Context(), "asynq:*").Result()
	require.NoError(t, err)
	found := make(map[string]any, len(keys))
	for _, key := range keys {
		kind, err := rdb.Type(t.Context(), key).Result()
		require.NoError(t, err)
		switch kind {
		case "hash":
			fields, err := rdb.HGetAll(t.Context(), key).Result()
			require.NoError(t, err)
			if since, ok := fields["pending_since"]; ok {
				require.Regexp(t, `^\d{19}$`, since, "nanoseconds since 1970")
				fields["pending_since"] = "a time"
			}
			found[key] = fields
		case "list":
			found[key] = rdb.LRange(t.Context(), key, 0, -1).Val()
		case "set":
			found[key] = rdb.SMembers(t.Context(), key).Val()
		case "zset":
			members := rdb.ZRangeWithScores(t.Context(), key, 0, -1).Val()
			for i := range members {
				require.InDelta(t, time.Now().Unix(), members[i].Score, 100, "seconds since 1970")
				members[i].Score = 0
			}
			found[key] = members
		default:
			require.Fail(t, "asynq keeps a "+kind+" in "+key)
		}
	}
	return found
}

// A wake-up is written by a script of ours. What asynq's own client writes for
// the same task is the measure: this fails when a new version of asynq writes
// something else.
func TestWakeUpIsWhatAsynqItselfWrites(t *testing.T) {
	t.Parallel()
	long := contact.Ref{Site: strings.Repeat("site-", 30), ID: "123456789012345678"}
	for name, test := range map[string]struct {
		options pending.Options
		ref     contact.Ref
		later   bool
	}{
		"at once":                        {pending.Options{}, ann, false},
		"after the contact has settled":  {pending.Options{Settle: time.Minute}, ann, true},
		"with an id longer than 127":     {pending.Options{}, long, false},
		"in one of several queues":       {pending.Options{Queues: 12}, ann, false},
		"with a name of the form page/3": {pending.Options{}, contact.Ref{Site: "page/3", ID: "1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := redistest.Start(t).Client(), redistest.Start(t).Client()
			contacts := pending.New(ours, test.options)
			_, err := contacts.Submit(t.Context(), test.ref, upd, contact.Receipt{RequestID: "r"})
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				return ours.SCard(t.Context(), "asynq:queues").Val() == int64(len(contacts.Queues()))
			}, 10*time.Second, 10*time.Millisecond, "asynq is told of the queues")

			tasks, err := ours.Keys(t.Context(), "asynq:*:t:*").Result()
			require.NoError(t, err)
			require.Len(t, tasks, 1)
			prefix, id, _ := strings.Cut(tasks[0], ":t:")
			queue := strings.Trim(strings.TrimPrefix(prefix, "asynq:"), "{}")
			options := []asynq.Option{
				asynq.TaskID(id), asynq.Queue(queue), asynq.Timeout(pending.PassTimeout), asynq.MaxRetry(1<<21 - 1), asynq.Retention(0),
			}
			if test.later {
				options = append(options, asynq.ProcessIn(time.Minute))
			}
			_, err = asynq.NewClientFromRedisClient(theirs).EnqueueContext(t.Context(), asynq.NewTask(pending.TaskType, nil), options...)
			require.NoError(t, err)

			want, got := asynqKeys(t, theirs), asynqKeys(t, ours)
			require.ElementsMatch(t, contacts.Queues(), got["asynq:queues"])
			require.Equal(t, []string{queue}, want["asynq:queues"])
			delete(want, "asynq:queues")
			delete(got, "asynq:queues")
			require.Equal(t, want, got)
		})
	}
}

// A script pushes the ids of all its wake-ups at once, in the order in which
// asynq would have written them one by one.
func TestWakeUpsOfOneScriptAreWhatAsynqWritesOneByOne(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options pending.Options
		extra   []asynq.Option
	}{
		"at once":                         {pending.Options{}, nil},
		"after the contacts have settled": {pending.Options{Settle: time.Minute}, []asynq.Option{asynq.ProcessIn(time.Minute)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := redistest.Start(t).Client(), redistest.Start(t).Client()
			contacts := pending.New(ours, test.options)
			var webhooks []pending.Webhook
			for id := 100; id < 300; id++ { // in the order of scores that are equal
				ref := contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(id)}
				webhooks = append(webhooks, pending.Webhook{Ref: ref, Intent: upd}, pending.Webhook{Ref: ref, Intent: upd})
			}
			require.NoError(t, contacts.SubmitAll(t.Context(), webhooks))

			ids, err := ours.Keys(t.Context(), "asynq:{spillway}:t:*").Result()
			require.NoError(t, err)
			require.Len(t, ids, 200)
			slices.Sort(ids)
			client := asynq.NewClientFromRedisClient(theirs)
			for _, key := range ids {
				id := strings.TrimPrefix(key, "asynq:{spillway}:t:")
				require.Regexp(t, `^default:\d{3}:[A-Za-z0-9_-]{11}$`, id)
				_, err = client.EnqueueContext(t.Context(), asynq.NewTask(pending.TaskType, nil), append([]asynq.Option{
					asynq.TaskID(id), asynq.Queue("spillway"), asynq.Timeout(pending.PassTimeout), asynq.MaxRetry(1<<21 - 1), asynq.Retention(0),
				}, test.extra...)...)
				require.NoError(t, err)
			}
			want, got := asynqKeys(t, theirs), asynqKeys(t, ours)
			delete(want, "asynq:queues")
			delete(got, "asynq:queues")
			require.Equal(t, want, got)
			due, err := ours.ZCard(t.Context(), "spw:{spillway}:due").Result()
			require.NoError(t, err)
			require.EqualValues(t, 200, due)
		})
	}
}

// go-redis sends a script again when an answer is late.
func TestScriptThatIsSentTwiceDoesNoHarm(t *testing.T) {
	b := setup(t)
	b.rdb.AddHook(twice{})
	require.True(t, b.submit(t, ann, upd), "the second sending finds the record of the first")
	require.Len(t, b.wakeUps(t), 1)
	record := b.state(t, ann)
	require.Equal(t, pending.Pending, record.State)
	claim := b.claim(t)
	b.submit(t, ann, upd)
	again, err := claim.Finish(b.ctx, "event")
	require.NoError(t, err)
	require.True(t, again)
	require.Equal(t, pending.Active, b.state(t, ann).State)
	again, err = claim.Finish(b.ctx, "event")
	require.NoError(t, err)
	require.False(t, again, "the first sending has finished the contact")
	require.Equal(t, pending.Idle, b.state(t, ann).State)
}

// twice sends every script twice and reads the second answer.
type twice struct{}

func (twice) DialHook(next redis.DialHook) redis.DialHook { return next }
func (twice) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (twice) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := next(ctx, cmd); err != nil || !strings.HasPrefix(cmd.Name(), "eval") {
			return err
		}
		return next(ctx, cmd)
	}
}
