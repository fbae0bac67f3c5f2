package pending

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
	"spillway/internal/pending/shard"
)

// Pause makes work wait on every worker: webhooks are still accepted, passes
// under way are finished, and no other pass begins until [Contacts.Resume].
func (c *Contacts) Pause(ctx context.Context) error {
	for _, q := range c.queues {
		// What asynq's own pause writes, without its complaint about a queue
		// that is paused already.
		if err := c.rdb.SetNX(ctx, q.paused, time.Now().Unix(), 0).Err(); err != nil {
			return fmt.Errorf("pausing queue %s: %w", q.name, err)
		}
	}
	return nil
}

// Resume ends a pause.
func (c *Contacts) Resume(ctx context.Context) error {
	for _, q := range c.queues {
		if err := c.rdb.Del(ctx, q.paused).Err(); err != nil {
			return fmt.Errorf("resuming queue %s: %w", q.name, err)
		}
	}
	return nil
}

// Paused reports whether work waits, in any queue.
func (c *Contacts) Paused(ctx context.Context) (bool, error) {
	for _, q := range c.queues {
		n, err := c.rdb.Exists(ctx, q.paused).Result()
		if err != nil {
			return false, fmt.Errorf("asking whether queue %s is paused: %w", q.name, err)
		}
		if n > 0 {
			return true, nil
		}
	}
	return false, nil
}

// dropScript forgets a parked contact.
//
// KEYS[1] record  KEYS[2] parked  KEYS[3] timeline  KEYS[4] its last sync
// ARGV[1] SITE:ID  ARGV[2] event, empty: none  ARGV[3] events of a timeline
// ARGV[4] its life in s
//
// Returns 1, or 0 if the contact is not parked.
var dropScript = redis.NewScript(rememberLua + `
if redis.call('HEXISTS', KEYS[1], 'parked') == 0 then return 0 end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
remember(KEYS[3], KEYS[4], ARGV[2], ARGV[3], ARGV[4])
return 1
`)

// Drop forgets a parked contact: it is not synced until its next webhook. event
// goes onto its timeline; empty: nothing does. It reports whether the contact
// was parked; others are left alone.
func (c *Contacts) Drop(ctx context.Context, ref contact.Ref, event string) (dropped bool, err error) {
	q := c.queueOf(ref)
	keys := []string{q.recordKey(ref), q.parked, shard.Timeline(q.name, ref), shard.LastSync(q.name, ref)}
	n, err := dropScript.Run(ctx, c.rdb, keys, ref.String(), event, timelineLength, int(timelineTTL.Seconds())).Int()
	if err != nil {
		return false, fmt.Errorf("dropping contact %s: %w", ref, err)
	}
	return n == 1, nil
}

// retryBatch bounds how long Redis is kept from other work by RetryParked.
const retryBatch = 200

// RetryParked wakes every contact that is parked at the time of the call, a
// batch at a time, and returns how many it woke. Contacts that are parked anew
// meanwhile stay parked, and one that somebody else woke first is left alone.
func (c *Contacts) RetryParked(ctx context.Context) (woken int, err error) {
	for _, q := range c.queues {
		n, err := c.retryParked(ctx, q)
		woken += n
		if err != nil {
			return woken, fmt.Errorf("retrying parked contacts: %w", err)
		}
	}
	return woken, nil
}

func (c *Contacts) retryParked(ctx context.Context, q *queue) (woken int, err error) {
	last, err := c.rdb.ZRevRangeWithScores(ctx, q.parked, 0, 0).Result()
	if err != nil || len(last) == 0 {
		return 0, err
	}
	until := strconv.FormatFloat(last[0].Score, 'f', -1, 64)
	for {
		members, err := c.rdb.ZRangeArgs(ctx, redis.ZRangeArgs{
			Key: q.parked, ByScore: true, Start: "-inf", Stop: until, Count: retryBatch,
		}).Result()
		if err != nil || len(members) == 0 {
			return woken, err
		}
		webhooks := make([]Webhook, 0, len(members))
		for _, member := range members {
			ref, err := contact.ParseRef(member)
			if err != nil {
				return woken, fmt.Errorf("the index of parked contacts holds %q: %w", member, err)
			}
			webhooks = append(webhooks, Webhook{Ref: ref})
		}
		answers, _, err := c.submit(ctx, q, byParked, webhooks)
		if err != nil {
			return woken, err
		}
		for i := range answers {
			if answers[i] == existed {
				woken++
			}
		}
	}
}
