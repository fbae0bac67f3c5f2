package pending

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/pending/shard"
)

const (
	timelineLength = 8                   // events of a contact
	timelineTTL    = 30 * 24 * time.Hour // after its last event
)

// rememberLua adds an event to a contact's timeline, which package shard
// describes. The last sync is kept when many failures push it out. A failure
// like the one before it is counted there and takes no place of its own: package
// history describes its head. A length of zero remembers nothing.
const rememberLua = `
local function remember(timeline, last, event, length, ttl)
  if event == '' or tonumber(length) == 0 then return end
  local what, covered, rest = string.match(event, '^%` + shard.RetryingMark + `(%S+) %d+ %d+ (%d+) (.*)$')
  if what then
    local before, times, first, seen = string.match(redis.call('LINDEX', timeline, 0) or '', '^%` + shard.RetryingMark + `(%S+) (%d+) (%d+) (%d+) ')
    if before == what then
      redis.call('LSET', timeline, 0, string.format('` + shard.RetryingMark + `%s %d %s %d %s', what, times + 1, first, seen + covered, rest))
      redis.call('EXPIRE', timeline, ttl)
      return
    end
  end
  if redis.call('LPUSH', timeline, event) > tonumber(length) then
    local old = redis.call('RPOP', timeline)
    if string.sub(old, 1, 1) == '` + shard.SyncedMark + `' then redis.call('SET', last, old) end
    redis.call('EXPIRE', last, ttl)
  end
  redis.call('EXPIRE', timeline, ttl)
end
`

// finishScript ends a claim whose pass succeeded.
//
// KEYS[1] record  KEYS[2] due  KEYS[3] active  KEYS[4] stats  KEYS[5] timeline
// KEYS[6] its last sync  KEYS[7] asynq's mark of a paused queue
// ARGV[1] SITE:ID  ARGV[2] epoch  ARGV[3] lock token  ARGV[4] event, empty: none
// ARGV[5] events of a timeline  ARGV[6] its life in s  ARGV[7] prefix of the
// counts  ARGV[8] gen that the pass began with  ARGV[9] lock in ms
// ARGV[10] ms after the lock when the sweep looks  ARGV[11] ms for which a
// contact settles
//
// Returns {"lost"}, {"done"} (also when there is no record: the answer to a
// first sending of the script may have been lost), or, when webhooks arrived
// since the pass began, {"again", now in µs, ms to hold the next pass back} and
// what it is to do: the fields that workLua names. The lock is renewed. A
// sender that waits for the pass is told of it.
var finishScript = redis.NewScript(clockLua + settledLua + countLua + rememberLua + tellLua + `
local rec = redis.call('HMGET', KEYS[1], 'epoch', 'lock', 'gen', 'since', 'later', 'last', 'life')
if not rec[1] then return {'done'} end
if rec[1] ~= ARGV[2] or rec[2] ~= ARGV[3] then return {'lost'} end
redis.call('HINCRBY', KEYS[4], 'synced', 1)
count(ARGV[7], {'synced', 1, 'delay', math.max(0, now - rec[4])})
remember(KEYS[5], KEYS[6], ARGV[4], ARGV[5], ARGV[6])
tell(rec[7], ARGV[8], ARGV[1], ARGV[4])
if rec[3] == ARGV[8] then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  return {'done'}
end
local since = rec[5] or rec[4]
redis.call('HSET', KEYS[1], 'lock_until', now + ARGV[9], 'covered', ARGV[8], 'since', since)
redis.call('HDEL', KEYS[1], 'error', 'code', 'next', 'attempts', 'tries', 'later')
redis.call('ZADD', KEYS[2], now + ARGV[9] + ARGV[10], ARGV[1])
redis.call('ZADD', KEYS[3], since, ARGV[1])
local hold = unsettled(tonumber(ARGV[11]), since, rec[6])
if redis.call('EXISTS', KEYS[7]) == 1 then hold = math.max(hold, 1000) end
local work = redis.call('HMGET', KEYS[1], ` + workLua + `)
return {'again', now_us, hold, unpack(work)}
`)

// releaseScript ends a claim whose contact has to be looked at again.
//
// KEYS[1] record  KEYS[2] due  KEYS[3] active  KEYS[4] stats  KEYS[5] timeline
// KEYS[6] its last sync  KEYS[7] retrying
// ARGV[1] to ARGV[7] as finishScript's  ARGV[8] gen that the pass began with
// ARGV[9] ms until the next pass  ARGV[10] ms after that when the sweep looks
// ARGV[11] attempts to add  ARGV[12] "1": the next pass is a retry
// ARGV[13] code of the error  ARGV[14] its text
//
// Returns 1, or 0 if the claim was lost.
var releaseScript = redis.NewScript(clockLua + countLua + rememberLua + `
local rec = redis.call('HMGET', KEYS[1], 'epoch', 'lock', 'since')
if rec[1] ~= ARGV[2] or rec[2] ~= ARGV[3] then return 0 end
redis.call('HDEL', KEYS[1], 'lock', 'lock_until')
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[2], now + ARGV[9] + ARGV[10], ARGV[1])
if ARGV[4] ~= '' or ARGV[12] == '1' then
  redis.call('HINCRBY', KEYS[4], 'failed', 1)
  count(ARGV[7], {'failed', 1})
  remember(KEYS[5], KEYS[6], ARGV[4], ARGV[5], ARGV[6])
  redis.call('HSET', KEYS[1], 'covered', ARGV[8])
end
if ARGV[12] == '1' then
  redis.call('HINCRBY', KEYS[1], 'attempts', ARGV[11])
  redis.call('HINCRBY', KEYS[1], 'tries', 1)
  redis.call('HSET', KEYS[1], 'code', ARGV[13], 'error', ARGV[14], 'next', now + ARGV[9])
  redis.call('ZADD', KEYS[7], rec[3], ARGV[1])
end
return 1
`)

// parkScript ends a claim whose contact cannot be synced as it is.
//
// KEYS[1] record  KEYS[2] due  KEYS[3] active  KEYS[4] stats  KEYS[5] timeline
// KEYS[6] its last sync  KEYS[7] parked
// ARGV[1] to ARGV[7] as finishScript's  ARGV[8] gen that the pass began with
// ARGV[9] code of the error  ARGV[10] its text
//
// Returns "lost", "parked", or "again" when webhooks arrived since the pass
// began: they may have mended the contact, and the claim is still held. Whoever
// waits for a pass that parks is told of it.
var parkScript = redis.NewScript(clockLua + countLua + rememberLua + tellLua + `
local rec = redis.call('HMGET', KEYS[1], 'epoch', 'lock', 'gen', 'life')
if rec[1] ~= ARGV[2] or rec[2] ~= ARGV[3] then return 'lost' end
if rec[3] ~= ARGV[8] then return 'again' end
redis.call('HSET', KEYS[1], 'parked', now, 'code', ARGV[9], 'error', ARGV[10], 'covered', ARGV[8])
redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HDEL', KEYS[1], 'lock', 'lock_until', 'next', 'life')
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[7], now, ARGV[1])
redis.call('HINCRBY', KEYS[4], 'failed', 1)
count(ARGV[7], {'failed', 1, 'parked', 1})
remember(KEYS[5], KEYS[6], ARGV[4], ARGV[5], ARGV[6])
tell(rec[4], ARGV[8], ARGV[1], ARGV[4])
return 'parked'
`)

// end runs one of the scripts that end a claim. last is the last of their keys.
func (c *Claim) end(ctx context.Context, script *redis.Script, last, event string, more ...any) *redis.Cmd {
	q, length := c.queue, timelineLength
	if room := c.contacts.room; room != nil && !room.Remembers() {
		length = 0
	}
	keys := []string{
		q.recordKey(c.Ref), q.due, q.active, q.stats, shard.Timeline(q.name, c.Ref), shard.LastSync(q.name, c.Ref), last,
	}
	args := append([]any{
		c.Ref.String(), c.epoch, c.token, event, length, int(timelineTTL.Seconds()), q.counts, c.gen,
	}, more...)
	return script.Run(ctx, c.contacts.rdb, keys, args...)
}

// Finish ends the claim after a pass that succeeded. event goes onto the
// contact's timeline; empty: nothing does. again means that webhooks arrived
// during the pass: the claim goes on with the merged intent and a fresh lock,
// and the caller runs another pass, or releases the claim if there is a Hold.
func (c *Claim) Finish(ctx context.Context, event string) (again bool, err error) {
	answer, err := c.end(ctx, finishScript, c.queue.paused, event,
		Lock.Milliseconds(), lockGrace.Milliseconds(), c.contacts.settle.Milliseconds()).Slice()
	if err != nil {
		return false, fmt.Errorf("finishing contact %s: %w", c.Ref, err)
	}
	switch outcome := text(answer[0]); {
	case outcome == "done":
		return false, nil
	case outcome == "lost":
		return false, ErrLost
	case outcome != "again" || len(answer) != 3+workFields:
		return false, fmt.Errorf("finishing contact %s: unexpected answer %q", c.Ref, outcome)
	}
	c.Attempts, c.Tries, c.Hold = 0, 0, millis(answer[2])
	c.take(number(answer[1]), answer[3:])
	return true, nil
}

// Failure describes a pass that failed: a code for programs and a text for the
// operator, both free of secrets and personal data.
type Failure struct {
	Code, Text string
}

// Release gives the contact back for another pass by its wake-up. event tells
// of a pass that failed and that newer webhooks have overtaken; empty: nothing
// failed since the last Finish.
func (c *Claim) Release(ctx context.Context, after time.Duration, event string) error {
	return c.release(ctx, after, event, false, false, Failure{})
}

// Retry gives the contact back for a pass after a time, since this one failed.
// counted says that the failure uses up an attempt. event tells of the pass.
func (c *Claim) Retry(ctx context.Context, after time.Duration, counted bool, failure Failure, event string) error {
	return c.release(ctx, after, event, true, counted, failure)
}

func (c *Claim) release(ctx context.Context, after time.Duration, event string, retry, counted bool, failure Failure) error {
	held, err := c.end(ctx, releaseScript, c.queue.retrying, event,
		after.Milliseconds(), grace.Milliseconds(), flag(counted), flag(retry), failure.Code, failure.Text).Int()
	if err != nil {
		return fmt.Errorf("giving back contact %s: %w", c.Ref, err)
	}
	if held == 0 {
		return ErrLost
	}
	return nil
}

// Park keeps the contact with its failure until its next webhook or until the
// operator retries it. event tells of the pass. parked is false when webhooks
// arrived during the pass: the claim is still held, and the caller gives the
// contact back for another pass.
func (c *Claim) Park(ctx context.Context, failure Failure, event string) (parked bool, err error) {
	outcome, err := c.end(ctx, parkScript, c.queue.parked, event, failure.Code, failure.Text).Text()
	if err != nil {
		return false, fmt.Errorf("parking contact %s: %w", c.Ref, err)
	}
	if outcome == "lost" {
		return false, ErrLost
	}
	return outcome == "parked", nil
}
