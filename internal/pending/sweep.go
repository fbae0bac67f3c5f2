package pending

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// sweepScript looks at contacts that are due and gives those whose wake-up is
// lost a new epoch and a new wake-up.
//
// KEYS[1] due  KEYS[2] active  KEYS[3] retrying  KEYS[4] asynq's leases
// KEYS[5] its waiting wake-ups
// ARGV[1] prefix of the records  ARGV[2] prefix of asynq's tasks (both share the
// hash tag of the keys)  ARGV[3], ARGV[4] the two parts of asynq's message
// ARGV[5] ms until the next look  ARGV[6] ms after a lock when to look
// ARGV[7] most contacts to look at  ARGV[8] what new epochs begin with
//
// Returns {contacts looked at, contacts woken}.
//
// Lost are: a task that is missing, archived or completed, and an active one
// whose lease has vanished or ended (asynq never recovers the former; leases
// are seconds of the workers' clocks). A record that is locked belongs to a
// living pass or ends by its lock. A new wake-up comes first: its contact has
// waited longest.
var sweepScript = redis.NewScript(clockLua + enqueueLua + `
local q = {task = ARGV[2], head = ARGV[3], tail = ARGV[4], waiting = KEYS[5], now = {}, delayed = {}}
local refs = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[7])
local woken = 0
local function lost(id)
  local state = redis.call('HGET', q.task .. id, 'state')
  if state ~= 'active' then return not state or state == 'archived' or state == 'completed' end
  local lease = redis.call('ZSCORE', KEYS[4], id)
  return not lease or tonumber(lease) <= tonumber(time[1])
end
for i, ref in ipairs(refs) do
  local key = ARGV[1] .. ref
  local rec = redis.call('HMGET', key, 'epoch', 'lock_until', 'parked')
  if not rec[1] or rec[3] then
    for k = 1, 3 do redis.call('ZREM', KEYS[k], ref) end
  elseif rec[2] and tonumber(rec[2]) > now then
    redis.call('ZADD', KEYS[1], rec[2] + ARGV[6], ref)
  else
    redis.call('ZADD', KEYS[1], now + ARGV[5], ref)
    if lost(ref .. ':' .. rec[1]) then
      local epoch = ARGV[8] .. '-' .. i
      redis.call('HSET', key, 'epoch', epoch)
      redis.call('HDEL', key, 'lock', 'lock_until', 'next')
      redis.call('ZREM', KEYS[2], ref)
      redis.call('ZREM', KEYS[3], ref)
      enqueue(q, ref, epoch)
      woken = woken + 1
    end
  end
end
push(q, true)
return {#refs, woken}
`)

const (
	// sweepBatch bounds how long Redis is kept from other work.
	sweepBatch = 100
	// sweepBatches bounds one call of [Contacts.Sweep], for each queue.
	sweepBatches = 10
)

// Sweep looks at contacts that are due and wakes those whose wake-up was lost.
// It returns how many it woke. Any number of workers may sweep at once.
func (c *Contacts) Sweep(ctx context.Context) (woken int, err error) {
	for _, q := range c.queues {
		for range sweepBatches {
			answer, err := sweepScript.Run(ctx, c.rdb,
				[]string{q.due, q.active, q.retrying, q.lease, q.waiting},
				q.record, q.task, q.message.head, q.message.tail, grace.Milliseconds(), lockGrace.Milliseconds(),
				sweepBatch, newToken(),
			).Slice()
			if err != nil {
				return woken, fmt.Errorf("sweeping queue %s: %w", q.name, err)
			}
			woken += int(number(answer[1]))
			if number(answer[0]) < sweepBatch {
				break
			}
		}
	}
	return woken, nil
}
