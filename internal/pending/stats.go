package pending

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// Stats counts contacts by state, and what happened since Redis was empty.
type Stats struct {
	Received  int64 `json:"received"`  // webhooks
	Coalesced int64 `json:"coalesced"` // of them, for a contact that had outstanding work
	Synced    int64 `json:"synced"`    // passes that succeeded
	Failed    int64 `json:"failed"`    // passes that failed
	Pending   int64 `json:"pending"`
	Active    int64 `json:"active"`
	Retrying  int64 `json:"retrying"`
	Parked    int64 `json:"parked"`
	// Oldest is when the longest waiting contact began to wait, parked ones
	// aside; zero if none waits. It may be some seconds off while contacts are
	// handed back and forth between the queue and its retries.
	Oldest time.Time `json:"oldest_pending,omitzero"`
	Paused bool      `json:"paused"`
	// LastWebhook is when the newest webhook was recorded; zero: none was.
	LastWebhook time.Time `json:"last_webhook,omitzero"`
}

// statsScript counts the contacts of a queue by state. Its cost does not depend
// on how many there are: the longest waiting contact is the first of those that
// are claimed, of those that failed, or of one of the first wake-ups.
//
// KEYS[1] due  KEYS[2] active  KEYS[3] retrying  KEYS[4] parked  KEYS[5] stats
// KEYS[6] asynq's waiting wake-ups  KEYS[7] its scheduled ones  KEYS[8] its
// retries  KEYS[9] its mark of a paused queue
// ARGV[1] prefix of the records  ARGV[2] how many wake-ups to look at
//
// Returns {received, coalesced, synced, failed, due, active, retrying, parked,
// since when the oldest waits in ms or 0, 1 if paused, when the last webhook was
// recorded in ms or 0}.
var statsScript = redis.NewScript(`
local oldest
local function consider(since)
  since = tonumber(since)
  if since and (not oldest or since < oldest) then oldest = since end
end
for _, index in ipairs({KEYS[2], KEYS[3]}) do consider(redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')[2]) end
local function look(ids, from, to, step)
  for i = from, to, step do
    local ref, epoch = string.match(ids[i], '^(.*):([^:]*)$')
    if ref then
      local rec = redis.call('HMGET', ARGV[1] .. ref, 'epoch', 'since', 'parked')
      if rec[1] == epoch and not rec[3] then consider(rec[2]); return end
    end
  end
end
local ids = redis.call('LRANGE', KEYS[6], -ARGV[2], -1)
look(ids, #ids, 1, -1)
for _, index in ipairs({KEYS[7], KEYS[8]}) do
  ids = redis.call('ZRANGE', index, 0, ARGV[2] - 1)
  look(ids, 1, #ids, 1)
end
local n = redis.call('HMGET', KEYS[5], 'received', 'coalesced', 'synced', 'failed', 'last_webhook')
return {n[1] or 0, n[2] or 0, n[3] or 0, n[4] or 0, redis.call('ZCARD', KEYS[1]), redis.call('ZCARD', KEYS[2]),
  redis.call('ZCARD', KEYS[3]), redis.call('ZCARD', KEYS[4]), oldest or 0, redis.call('EXISTS', KEYS[9]), n[5] or 0}
`)

// wakeUpsLookedAt bounds how many stale wake-ups may hide the oldest contact.
const wakeUpsLookedAt = 20

// Stats costs one short script per queue, however many contacts there are. A
// contact whose pass was killed counts as active until the sweep wakes it.
func (c *Contacts) Stats(ctx context.Context) (Stats, error) {
	parts := make([][]any, len(c.queues))
	group, ctx := errgroup.WithContext(ctx)
	for i, q := range c.queues {
		group.Go(func() (err error) {
			parts[i], err = statsScript.Run(ctx, c.rdb, []string{
				q.due, q.active, q.retrying, q.parked, q.stats, q.waiting, q.scheduled, q.retries, q.paused,
			}, q.record, wakeUpsLookedAt).Slice()
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Stats{}, fmt.Errorf("reading the counters: %w", err)
	}
	var stats Stats
	for _, part := range parts {
		active, retrying := number(part[5]), number(part[6])
		stats.Received += number(part[0])
		stats.Coalesced += number(part[1])
		stats.Synced += number(part[2])
		stats.Failed += number(part[3])
		stats.Pending += max(0, number(part[4])-active-retrying)
		stats.Active += active
		stats.Retrying += retrying
		stats.Parked += number(part[7])
		if since := number(part[8]); since > 0 {
			oldest := time.UnixMilli(since).UTC()
			if stats.Oldest.IsZero() || oldest.Before(stats.Oldest) {
				stats.Oldest = oldest
			}
		}
		stats.Paused = stats.Paused || number(part[9]) == 1
		if at := number(part[10]); at > 0 {
			if last := time.UnixMilli(at).UTC(); last.After(stats.LastWebhook) {
				stats.LastWebhook = last
			}
		}
	}
	return stats, nil
}
