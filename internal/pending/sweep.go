package pending

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

// reviveScript gives a record whose wake-up is lost a new epoch.
//
// KEYS[1] record  KEYS[2] due  KEYS[3] active  KEYS[4] asynq's task of the
// epoch in ARGV[2]  KEYS[5] asynq's leases
// ARGV[1] SITE:ID  ARGV[2] epoch that the caller read  ARGV[3] new epoch
// ARGV[4] asynq's id of the task  ARGV[5] ms until the next look
//
// Returns 1 if the new epoch's wake-up must be enqueued, else 0.
//
// Lost are: a task that is missing, archived or completed, and an active one
// whose lease has vanished or ended (asynq never recovers the former; leases
// are seconds of the workers' clocks). A record that is locked belongs to a
// living pass or ends by its lock. Nothing is done if the record changed since
// the caller read it.
var reviveScript = redis.NewScript(`
local rec = redis.call('HMGET', KEYS[1], 'epoch', 'lock_until', 'parked')
if not rec[1] or rec[3] then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 0
end
if rec[1] ~= ARGV[2] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZSCORE', KEYS[2], ARGV[1])
if due and tonumber(due) > now then return 0 end
if rec[2] and tonumber(rec[2]) > now then
  redis.call('ZADD', KEYS[2], rec[2] + ARGV[5], ARGV[1])
  return 0
end
redis.call('ZADD', KEYS[2], now + ARGV[5], ARGV[1])
local state = redis.call('HGET', KEYS[4], 'state')
if state == 'active' then
  local lease = redis.call('ZSCORE', KEYS[5], ARGV[4])
  if lease and tonumber(lease) > tonumber(time[1]) then return 0 end
elseif state and state ~= 'archived' and state ~= 'completed' then
  return 0
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[3])
redis.call('HDEL', KEYS[1], 'lock', 'lock_until')
redis.call('ZREM', KEYS[3], ARGV[1])
return 1
`)

// sweepBatch bounds one call of [Contacts.Sweep].
const sweepBatch = 500

// Sweep looks at the records that are due and wakes those whose wake-up was
// lost. It returns how many it woke. Any number of workers may sweep at once.
func (c *Contacts) Sweep(ctx context.Context) (woken int, err error) {
	// The clock of Redis decides in the script; a local clock that is fast or
	// slow by minutes only makes this list longer or shorter, so it is Redis's.
	now, err := c.rdb.Time(ctx).Result()
	if err != nil {
		return 0, fmt.Errorf("sweeping: reading the time of Redis: %w", err)
	}
	members, err := c.rdb.ZRangeArgs(ctx, redis.ZRangeArgs{
		Key: c.keys.due, ByScore: true, Start: "-inf", Stop: strconv.FormatInt(now.UnixMilli(), 10), Count: sweepBatch,
	}).Result()
	if err != nil {
		return 0, fmt.Errorf("sweeping: listing due contacts: %w", err)
	}
	for _, member := range members {
		ref, err := contact.ParseRef(member)
		if err != nil {
			return woken, fmt.Errorf("sweeping: the index holds %q: %w", member, err)
		}
		revived, err := c.revive(ctx, ref)
		if err != nil {
			return woken, fmt.Errorf("sweeping: %w", err)
		}
		if revived {
			woken++
		}
	}
	return woken, nil
}

func (c *Contacts) revive(ctx context.Context, ref contact.Ref) (bool, error) {
	epoch, err := c.rdb.HGet(ctx, c.keys.of(ref), "epoch").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return false, fmt.Errorf("reading contact %s: %w", ref, err)
	}
	next, task := newToken(), taskID(ref, epoch)
	enqueue, err := reviveScript.Run(ctx, c.rdb,
		[]string{c.keys.of(ref), c.keys.due, c.keys.active, c.keys.task + task, c.keys.lease},
		ref.String(), epoch, next, task, grace.Milliseconds(),
	).Int()
	if err != nil {
		return false, fmt.Errorf("reviving contact %s: %w", ref, err)
	}
	if enqueue == 0 {
		return false, nil
	}
	return true, c.wakeUp(ctx, ref, next)
}

// RunSweep sweeps until ctx ends, every interval give or take a third, so that
// workers that start together drift apart. report gets the outcome of each.
func (c *Contacts) RunSweep(ctx context.Context, interval time.Duration, jitter func() float64, report func(woken int, err error)) {
	for {
		pause := time.Duration(float64(interval) * (2 + 2*jitter()) / 3)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		sweepCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
		woken, err := c.Sweep(sweepCtx)
		cancel()
		if ctx.Err() == nil {
			report(woken, err)
		}
	}
}
