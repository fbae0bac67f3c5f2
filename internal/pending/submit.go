package pending

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

// submitScript records that a contact has work to do.
//
// KEYS[1] record  KEYS[2] due  KEYS[3] retrying  KEYS[4] parked  KEYS[5] stats
// ARGV[1] SITE:ID  ARGV[2] epoch for a new record  ARGV[3] action rank, 0: none
// ARGV[4] role, empty: none  ARGV[5] "1": send the mail
// ARGV[6] prefix of asynq's task keys (the epoch inside the record completes it;
// the key shares the hash tag of all others)
// ARGV[7] ms until the sweep looks for the wake-up
// ARGV[8] "webhook", "resync" (as a webhook, but not counted as one, and now) or
// "retry" (now, and only if there is a record)
//
// Returns {epoch, existed, enqueue}: the record's epoch; 1 if there was a
// record; 1 if a wake-up of that epoch must be enqueued. Epoch "" means that
// there is no record and none was to be made.
//
// A record that was parked starts anew: its attempts are forgotten and it gets
// a new epoch. For the operator so does one that is not locked: it is to be
// looked at now, whenever its wake-up would have come.
var submitScript = redis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local rec = redis.call('HMGET', KEYS[1], 'epoch', 'action', 'parked', 'lock_until')
local epoch, existed, enqueue = rec[1], 1, 1
if not epoch then
  if ARGV[8] == 'retry' then return {'', 0, 0} end
  existed, epoch = 0, ARGV[2]
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'gen', 1, 'action', ARGV[3], 'role', ARGV[4],
    'notify', ARGV[5], 'since', now, 'attempts', 0, 'tries', 0)
else
  redis.call('HINCRBY', KEYS[1], 'gen', 1)
  if tonumber(ARGV[3]) > tonumber(rec[2]) then redis.call('HSET', KEYS[1], 'action', ARGV[3]) end
  if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'role', ARGV[4]) end
  if ARGV[5] == '1' then redis.call('HSET', KEYS[1], 'notify', '1') end
  local locked = rec[4] and tonumber(rec[4]) > now
  if rec[3] or (ARGV[8] ~= 'webhook' and not locked) then
    epoch = ARGV[2]
    redis.call('HSET', KEYS[1], 'epoch', epoch, 'since', now, 'attempts', 0, 'tries', 0)
    redis.call('HDEL', KEYS[1], 'parked', 'error', 'code', 'next')
    redis.call('ZREM', KEYS[3], ARGV[1])
    redis.call('ZREM', KEYS[4], ARGV[1])
  else
    local state = redis.call('HGET', ARGV[6] .. ARGV[1] .. ':' .. epoch, 'state')
    if state and state ~= 'archived' and state ~= 'completed' then
      enqueue = 0
    elseif state then
      epoch = ARGV[2]
      redis.call('HSET', KEYS[1], 'epoch', epoch)
    end
  end
end
if enqueue == 1 then
  redis.call('ZADD', KEYS[2], now + ARGV[7], ARGV[1])
end
if ARGV[8] == 'webhook' then
  redis.call('HINCRBY', KEYS[5], 'received', 1)
  if existed == 1 then redis.call('HINCRBY', KEYS[5], 'coalesced', 1) end
end
return {epoch, existed, enqueue}
`)

// cause says who asks for a pass.
type cause string

const (
	byWebhook cause = "webhook"
	byResync  cause = "resync"
	byRetry   cause = "retry"
)

// Submit records a webhook's intent and makes sure that a wake-up exists. When
// it returns nil a pass that begins afterwards will carry the intent out.
// coalesced says that the contact had outstanding work already. After an error
// the intent may or may not be recorded; the caller must not acknowledge it.
func (c *Contacts) Submit(ctx context.Context, ref contact.Ref, intent contact.Intent) (coalesced bool, err error) {
	_, coalesced, err = c.submit(ctx, ref, intent, byWebhook)
	return coalesced, err
}

// Resync is Submit for the operator: it is not counted as a webhook, and a
// contact that waits for a retry or is parked is looked at now.
func (c *Contacts) Resync(ctx context.Context, ref contact.Ref, intent contact.Intent) (coalesced bool, err error) {
	_, coalesced, err = c.submit(ctx, ref, intent, byResync)
	return coalesced, err
}

// Retry wakes a contact that has outstanding work now, parked or not, with its
// attempts forgotten. found is false if it has none.
func (c *Contacts) Retry(ctx context.Context, ref contact.Ref) (found bool, err error) {
	epoch, _, err := c.submit(ctx, ref, contact.Intent{}, byRetry)
	return epoch != "", err
}

func (c *Contacts) submit(ctx context.Context, ref contact.Ref, intent contact.Intent, by cause) (epoch string, existed bool, err error) {
	if intent.Action == 0 && by != byRetry {
		return "", false, fmt.Errorf("recording contact %s: the intent has no action", ref)
	}
	answer, err := submitScript.Run(ctx, c.rdb,
		[]string{c.keys.of(ref), c.keys.due, c.keys.retrying, c.keys.parked, c.keys.stats},
		ref.String(), newToken(), int(intent.Action), intent.Role, flag(intent.Notify),
		c.keys.task, grace.Milliseconds(), string(by),
	).Slice()
	if err != nil {
		return "", false, fmt.Errorf("recording contact %s: %w", ref, err)
	}
	if len(answer) != 3 {
		return "", false, fmt.Errorf("recording contact %s: unexpected answer of %d elements", ref, len(answer))
	}
	epoch, existed = text(answer[0]), number(answer[1]) == 1
	if number(answer[2]) == 1 {
		err = c.wakeUp(ctx, ref, epoch)
	}
	return epoch, existed, err
}

func flag(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func number(v any) int64 {
	n, _ := v.(int64)
	return n
}
