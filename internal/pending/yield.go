package pending

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// yieldScript ends a claim as if it had never been made.
//
// KEYS[1] record  KEYS[2] due  KEYS[3] active  KEYS[4] asynq's waiting wake-ups
// ARGV[1] SITE:ID  ARGV[2] epoch  ARGV[3] lock token  ARGV[4] a new epoch
// ARGV[5] prefix of asynq's tasks  ARGV[6], ARGV[7] the two parts of its message
// ARGV[8] ms until the sweep looks for the wake-up
//
// Returns 1, also when it did so before: its answer may have been lost; or 0 if
// the claim was lost.
var yieldScript = redis.NewScript(clockLua + enqueueLua + `
local rec = redis.call('HMGET', KEYS[1], 'epoch', 'lock')
if rec[1] == ARGV[4] then return 1 end
if rec[1] ~= ARGV[2] or rec[2] ~= ARGV[3] then return 0 end
redis.call('HDEL', KEYS[1], 'lock', 'lock_until')
redis.call('HSET', KEYS[1], 'epoch', ARGV[4])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[2], now + ARGV[8], ARGV[1])
local q = {task = ARGV[5], head = ARGV[6], tail = ARGV[7], waiting = KEYS[4], now = {}, delayed = {}}
enqueue(q, ARGV[1], ARGV[4])
push(q, true)
return 1
`)

// Yield ends the claim of a pass that could not go on, though not because of
// its contact. The contact is pending as before the claim, in front of all
// others, and nothing is counted or noted. This claim's wake-up has become
// stale.
func (c *Claim) Yield(ctx context.Context) error {
	q := c.queue
	held, err := yieldScript.Run(ctx, c.contacts.rdb, []string{q.recordKey(c.Ref), q.due, q.active, q.waiting},
		c.Ref.String(), c.epoch, c.token, newToken(), q.task, q.message.head, q.message.tail, grace.Milliseconds()).Int()
	if err != nil {
		return fmt.Errorf("putting back contact %s: %w", c.Ref, err)
	}
	if held == 0 {
		return ErrLost
	}
	return nil
}
