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

var (
	// ErrStale says that a wake-up has nothing to do: its contact's work is
	// done, or belongs to a newer wake-up.
	ErrStale = errors.New("the wake-up is stale")
	// ErrLost says that a claim ended before its holder was done: its lock ran
	// out, or the sweep gave the contact to another wake-up.
	ErrLost = errors.New("the claim of the contact is lost")
)

// Busy says that the contact is claimed by another pass.
type Busy struct {
	For time.Duration // until the other claim's lock ends at the latest
}

func (b *Busy) Error() string { return fmt.Sprintf("the contact is claimed for another %v", b.For) }

// claimScript locks a record for one pass.
//
// KEYS[1] record  KEYS[2] due  KEYS[3] active  KEYS[4] retrying
// ARGV[1] SITE:ID  ARGV[2] epoch of the wake-up  ARGV[3] lock token
// ARGV[4] lock in ms  ARGV[5] ms after the lock when the sweep looks
//
// Returns {"stale"}, {"busy", ms left} or
// {"claimed", gen, action, role, notify, attempts, tries, since}.
var claimScript = redis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local rec = redis.call('HMGET', KEYS[1], 'epoch', 'lock_until', 'gen', 'action', 'role', 'notify', 'attempts', 'tries', 'since', 'parked')
if rec[1] ~= ARGV[2] or rec[10] then return {'stale'} end
if rec[2] and tonumber(rec[2]) > now then return {'busy', rec[2] - now} end
redis.call('HSET', KEYS[1], 'lock', ARGV[3], 'lock_until', now + ARGV[4])
redis.call('ZADD', KEYS[2], now + ARGV[4] + ARGV[5], ARGV[1])
redis.call('ZADD', KEYS[3], now, ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
return {'claimed', rec[3], rec[4], rec[5], rec[6], rec[7], rec[8], rec[9]}
`)

// finishScript ends a claim whose pass succeeded.
//
// KEYS[1] record  KEYS[2] due  KEYS[3] active  KEYS[4] stats
// ARGV[1] SITE:ID  ARGV[2] epoch  ARGV[3] lock token  ARGV[4] gen that the pass
// began with  ARGV[5] lock in ms  ARGV[6] ms after the lock when the sweep looks
//
// Returns {"lost"}, {"done"}, or, when webhooks arrived since the pass began,
// {"again", gen, action, role, notify} with the lock renewed.
var finishScript = redis.NewScript(`
local rec = redis.call('HMGET', KEYS[1], 'epoch', 'lock', 'gen', 'action', 'role', 'notify')
if rec[1] ~= ARGV[2] or rec[2] ~= ARGV[3] then return {'lost'} end
redis.call('HINCRBY', KEYS[4], 'synced', 1)
if rec[3] == ARGV[4] then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  return {'done'}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'lock_until', now + ARGV[5], 'attempts', 0, 'tries', 0)
redis.call('HDEL', KEYS[1], 'error', 'code', 'next')
redis.call('ZADD', KEYS[2], now + ARGV[5] + ARGV[6], ARGV[1])
return {'again', rec[3], rec[4], rec[5], rec[6]}
`)

// releaseScript ends a claim whose contact has to be looked at again.
//
// KEYS[1] record  KEYS[2] due  KEYS[3] active  KEYS[4] retrying  KEYS[5] stats
// ARGV[1] SITE:ID  ARGV[2] epoch  ARGV[3] lock token  ARGV[4] ms until the next
// pass  ARGV[5] ms after that when the sweep looks  ARGV[6] attempts to add
// ARGV[7] "1": the pass failed  ARGV[8] code of the error  ARGV[9] its text
//
// Returns 1, or 0 if the claim was lost.
var releaseScript = redis.NewScript(`
local rec = redis.call('HMGET', KEYS[1], 'epoch', 'lock')
if rec[1] ~= ARGV[2] or rec[2] ~= ARGV[3] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HDEL', KEYS[1], 'lock', 'lock_until')
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[2], now + ARGV[4] + ARGV[5], ARGV[1])
if ARGV[7] == '1' then
  redis.call('HINCRBY', KEYS[1], 'attempts', ARGV[6])
  redis.call('HINCRBY', KEYS[1], 'tries', 1)
  redis.call('HSET', KEYS[1], 'code', ARGV[8], 'error', ARGV[9], 'next', now + ARGV[4])
  redis.call('ZADD', KEYS[4], now, ARGV[1])
  redis.call('HINCRBY', KEYS[5], 'failed', 1)
end
return 1
`)

// parkScript ends a claim whose contact cannot be synced as it is.
//
// KEYS[1] record  KEYS[2] due  KEYS[3] active  KEYS[4] parked  KEYS[5] stats
// ARGV[1] SITE:ID  ARGV[2] epoch  ARGV[3] lock token  ARGV[4] gen that the pass
// began with  ARGV[5] code of the error  ARGV[6] its text
//
// Returns "lost", "parked", or "again" when webhooks arrived since the pass
// began: they may have mended the contact, and the claim is still held.
var parkScript = redis.NewScript(`
local rec = redis.call('HMGET', KEYS[1], 'epoch', 'lock', 'gen')
if rec[1] ~= ARGV[2] or rec[2] ~= ARGV[3] then return 'lost' end
if rec[3] ~= ARGV[4] then return 'again' end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'parked', now, 'code', ARGV[5], 'error', ARGV[6])
redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HDEL', KEYS[1], 'lock', 'lock_until', 'next')
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[4], now, ARGV[1])
redis.call('HINCRBY', KEYS[5], 'failed', 1)
return 'parked'
`)

// Claim is the right to run one pass over a contact. Its holder ends it with
// Finish, Release, Retry or Park before [PassTimeout].
type Claim struct {
	Ref    contact.Ref
	Intent contact.Intent
	// Attempts are the failed passes that count; Tries are all failed passes
	// since the last success, outages included.
	Attempts, Tries int
	// Since is when the contact's work became outstanding, by Redis's clock.
	Since time.Time

	contacts     *Contacts
	epoch, token string
	gen          string
}

// Claim locks the contact that a wake-up names. It returns [ErrStale] when
// there is nothing to do, and [*Busy] when another pass holds the contact.
func (c *Contacts) Claim(ctx context.Context, taskID string) (*Claim, error) {
	ref, epoch, err := ParseTaskID(taskID)
	if err != nil {
		return nil, fmt.Errorf("claiming a contact: %w: %w", ErrStale, err)
	}
	claim := &Claim{Ref: ref, contacts: c, epoch: epoch, token: newToken()}
	answer, err := claimScript.Run(ctx, c.rdb,
		[]string{c.keys.of(ref), c.keys.due, c.keys.active, c.keys.retrying},
		ref.String(), epoch, claim.token, Lock.Milliseconds(), lockGrace.Milliseconds(),
	).Slice()
	if err != nil {
		return nil, fmt.Errorf("claiming contact %s: %w", ref, err)
	}
	switch outcome := text(answer[0]); {
	case outcome == "stale":
		return nil, ErrStale
	case outcome == "busy" && len(answer) == 2:
		return nil, &Busy{For: time.Duration(number(answer[1])) * time.Millisecond}
	case outcome != "claimed" || len(answer) != 8:
		return nil, fmt.Errorf("claiming contact %s: unexpected answer %q", ref, outcome)
	}
	claim.gen, claim.Intent = text(answer[1]), intentOf(answer[2:5])
	claim.Attempts, claim.Tries = atoi(answer[5]), atoi(answer[6])
	claim.Since = time.UnixMilli(int64(atoi(answer[7])))
	return claim, nil
}

// Finish ends the claim after a pass that succeeded. again means that webhooks
// arrived during the pass: the claim goes on with the merged intent and a fresh
// lock, and the caller runs another pass or releases the claim.
func (c *Claim) Finish(ctx context.Context) (again bool, err error) {
	k := c.contacts.keys
	answer, err := finishScript.Run(ctx, c.contacts.rdb,
		[]string{k.of(c.Ref), k.due, k.active, k.stats},
		c.Ref.String(), c.epoch, c.token, c.gen, Lock.Milliseconds(), lockGrace.Milliseconds(),
	).Slice()
	if err != nil {
		return false, fmt.Errorf("finishing contact %s: %w", c.Ref, err)
	}
	switch outcome := text(answer[0]); {
	case outcome == "done":
		return false, nil
	case outcome == "lost":
		return false, ErrLost
	case outcome != "again" || len(answer) != 5:
		return false, fmt.Errorf("finishing contact %s: unexpected answer %q", c.Ref, outcome)
	}
	c.gen, c.Intent, c.Attempts, c.Tries = text(answer[1]), intentOf(answer[2:5]), 0, 0
	return true, nil
}

// Failure describes a pass that failed: a code for programs and a text for the
// operator, both free of secrets and personal data.
type Failure struct {
	Code, Text string
}

// Release gives the contact back for another pass by its wake-up; nothing
// failed.
func (c *Claim) Release(ctx context.Context) error {
	return c.release(ctx, 0, false, false, Failure{})
}

// Retry gives the contact back for a pass after a time, since this one failed.
// counted says that the failure uses up an attempt.
func (c *Claim) Retry(ctx context.Context, after time.Duration, counted bool, failure Failure) error {
	return c.release(ctx, after, true, counted, failure)
}

func (c *Claim) release(ctx context.Context, after time.Duration, failed, counted bool, failure Failure) error {
	k := c.contacts.keys
	held, err := releaseScript.Run(ctx, c.contacts.rdb,
		[]string{k.of(c.Ref), k.due, k.active, k.retrying, k.stats},
		c.Ref.String(), c.epoch, c.token, after.Milliseconds(), grace.Milliseconds(),
		flag(counted), flag(failed), failure.Code, failure.Text,
	).Int()
	if err != nil {
		return fmt.Errorf("giving back contact %s: %w", c.Ref, err)
	}
	if held == 0 {
		return ErrLost
	}
	return nil
}

// Park keeps the contact with its failure until its next webhook or until the
// operator retries it. parked is false when webhooks arrived during the pass:
// the claim is still held, and the caller gives the contact back for another
// pass.
func (c *Claim) Park(ctx context.Context, failure Failure) (parked bool, err error) {
	k := c.contacts.keys
	outcome, err := parkScript.Run(ctx, c.contacts.rdb,
		[]string{k.of(c.Ref), k.due, k.active, k.parked, k.stats},
		c.Ref.String(), c.epoch, c.token, c.gen, failure.Code, failure.Text,
	).Text()
	if err != nil {
		return false, fmt.Errorf("parking contact %s: %w", c.Ref, err)
	}
	if outcome == "lost" {
		return false, ErrLost
	}
	return outcome == "parked", nil
}

// intentOf reads action, role and notify as a script returns them.
func intentOf(fields []any) contact.Intent {
	return contact.Intent{Action: contact.Action(atoi(fields[0])), Role: text(fields[1]), Notify: text(fields[2]) == "1"}
}

func atoi(v any) int {
	n, _ := strconv.Atoi(text(v))
	return n
}
