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

// Unsettled says that the contact's last webhook is too recent.
type Unsettled struct {
	For time.Duration // until it has settled, if none arrives meanwhile
}

func (u *Unsettled) Error() string {
	return fmt.Sprintf("the contact is to settle for another %v", u.For)
}

// settledLua returns how many ms a contact has to wait until it has settled. A
// wait ends after ten times the time, whatever arrives. The first webhook is the
// last one as long as the record does not say otherwise; 0 there: do not wait.
// Nobody waits for a clock of Redis that went back.
const settledLua = `
local function unsettled(settle, since, last)
  if settle == 0 then return 0 end
  return math.max(0, math.min(settle, (last or since) + settle - now, since + 10 * settle - now))
end
`

// claimScript locks a record for one pass.
//
// KEYS[1] record  KEYS[2] due  KEYS[3] active  KEYS[4] retrying
// ARGV[1] SITE:ID  ARGV[2] epoch of the wake-up  ARGV[3] lock token
// ARGV[4] lock in ms  ARGV[5] ms after the lock when the sweep looks
// ARGV[6] ms for which a contact settles  ARGV[7] ms after that when the sweep
// looks
//
// The script may run twice for one call: the second claims anew.
//
// Returns {"stale"}, {"busy", ms left}, {"unsettled", ms left} or {"claimed",
// now in µs, attempts, tries} and then as finishScript does.
var claimScript = redis.NewScript(clockLua + settledLua + `
local rec = redis.call('HMGET', KEYS[1], 'epoch', 'parked', 'lock_until', 'since', 'last', 'attempts', 'tries', 'lock')
if rec[1] ~= ARGV[2] or rec[2] then return {'stale'} end
if rec[3] and tonumber(rec[3]) > now and rec[8] ~= ARGV[3] then return {'busy', rec[3] - now} end
local wait = unsettled(tonumber(ARGV[6]), rec[4], rec[5])
if wait > 0 then
  redis.call('ZADD', KEYS[2], now + wait + ARGV[7], ARGV[1])
  return {'unsettled', wait}
end
redis.call('HSET', KEYS[1], 'lock', ARGV[3], 'lock_until', now + ARGV[4])
redis.call('HDEL', KEYS[1], 'next', 'later')
redis.call('ZADD', KEYS[2], now + ARGV[4] + ARGV[5], ARGV[1])
redis.call('ZADD', KEYS[3], rec[4], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
local work = redis.call('HMGET', KEYS[1], ` + workLua + `)
return {'claimed', now_us, rec[6], rec[7], unpack(work)}
`)

// workLua names the fields of a record that say what a pass is to do.
const workLua = `'gen', 'action', 'role', 'notify', 'since', 'covered', 'trace', ` + ringLua

// Claim is the right to run one pass over a contact. Its holder ends it with
// Finish, Release, Retry or Park before [PassTimeout].
type Claim struct {
	Ref    contact.Ref
	Intent contact.Intent
	// Attempts are the failed passes that count; Tries are all failed passes
	// since the last success, outages included.
	Attempts, Tries int
	// AsOf numbers the pass: Redis's time in µs when it was to begin. All that
	// the pass reads is at least as new, and each later pass of the contact has a
	// higher number, unless Redis's clock goes back.
	AsOf int64
	// Since is when the contact's work became outstanding, by Redis's clock.
	Since time.Time
	// Covered is how many webhooks no earlier pass has seen; Webhooks are the
	// latest of them, the newest last.
	Covered  int
	Webhooks []contact.Receipt
	// RequestID names the newest webhook, seen by an earlier pass or not.
	RequestID string
	// Trace is the traceparent of the newest sampled webhook, or empty.
	Trace string
	// Hold is set by a Finish that says again: how long the next pass has to
	// wait, since the contact has to settle or work is paused. Zero: not at
	// all.
	Hold time.Duration

	contacts     *Contacts
	queue        *queue
	epoch, token string
	gen          string
	outstanding  time.Duration // when claimed, by Redis's clock
	claimed      time.Time     // by the local clock
}

// Waited is how long the contact's work has been outstanding. It does not
// depend on the clocks of Redis and of this machine being equal.
func (c *Claim) Waited() time.Duration { return c.outstanding + time.Since(c.claimed) }

// Claim locks the contact that a wake-up names. It returns [ErrStale] when
// there is nothing to do, [*Busy] when another pass holds the contact, and
// [*Unsettled] when its webhooks are too fresh.
func (c *Contacts) Claim(ctx context.Context, taskID string) (*Claim, error) {
	ref, epoch, err := ParseTaskID(taskID)
	if err != nil {
		return nil, fmt.Errorf("claiming a contact: %w: %w", ErrStale, err)
	}
	q := c.queueOf(ref)
	claim := &Claim{Ref: ref, contacts: c, queue: q, epoch: epoch, token: newToken()}
	answer, err := claimScript.Run(ctx, c.rdb,
		[]string{q.recordKey(ref), q.due, q.active, q.retrying},
		ref.String(), epoch, claim.token, Lock.Milliseconds(), lockGrace.Milliseconds(),
		c.settle.Milliseconds(), grace.Milliseconds(),
	).Slice()
	if err != nil {
		return nil, fmt.Errorf("claiming contact %s: %w", ref, err)
	}
	switch outcome := text(answer[0]); {
	case outcome == "stale":
		return nil, ErrStale
	case outcome == "busy" && len(answer) == 2:
		return nil, &Busy{For: millis(answer[1])}
	case outcome == "unsettled" && len(answer) == 2:
		return nil, &Unsettled{For: millis(answer[1])}
	case outcome != "claimed" || len(answer) != 4+workFields:
		return nil, fmt.Errorf("claiming contact %s: unexpected answer %q", ref, outcome)
	}
	claim.Attempts, claim.Tries = int(number(answer[2])), int(number(answer[3]))
	claim.take(number(answer[1]), answer[4:])
	return claim, nil
}

// workFields is how many fields workLua names.
const workFields = 7 + ring

// take reads what the pass is to do, as workLua's fields say at a time of
// Redis in µs.
func (c *Claim) take(now int64, work []any) {
	c.AsOf = now
	c.gen = text(work[0])
	c.Intent = contact.Intent{
		Action: contact.Action(number(work[1])), Role: text(work[2]), Notify: text(work[3]) == "1",
	}
	since := number(work[4])
	c.Since = time.UnixMilli(since)
	c.outstanding, c.claimed = time.Duration(max(0, now/1000-since))*time.Millisecond, time.Now()
	gen, covered := number(work[0]), number(work[5])
	c.Covered, c.Trace = int(gen-covered), text(work[6])
	values := make([]string, 0, ring)
	for _, value := range work[7:] {
		values = append(values, text(value))
	}
	c.Webhooks, c.RequestID = receipts(values, covered, gen)
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

// number reads a number as Redis returns it, from a script or from a hash.
func number(v any) int64 {
	if n, ok := v.(int64); ok {
		return n
	}
	n, _ := strconv.ParseInt(text(v), 10, 64)
	return n
}

func millis(v any) time.Duration { return time.Duration(number(v)) * time.Millisecond }
