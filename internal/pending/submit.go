package pending

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

// submitScript records that contacts have work to do and writes their wake-ups.
//
// KEYS[1] due  KEYS[2] retrying  KEYS[3] parked  KEYS[4] stats  KEYS[5] number
// of queues  KEYS[6] asynq's waiting wake-ups  KEYS[7] its scheduled ones
// ARGV[1] number of queues  ARGV[2] prefix of the records  ARGV[3] prefix of
// asynq's tasks (both share the hash tag of the keys)  ARGV[4], ARGV[5] the two
// parts of asynq's message  ARGV[6] prefix of the counts  ARGV[7] ms until the
// sweep looks for a wake-up  ARGV[8] ms for which a contact settles
// and then for each contact: SITE:ID, an epoch for a new record, three
// characters, the role (empty: none), the request id, the trace (empty: none).
// The characters are the cause: "w" a webhook, "s" a resync (as a webhook, but
// not counted as one, and now) or "r" a retry (now, and only if there is a
// record); the rank of the action, 0: none; and "1": send the mail.
//
// Returns a character for each contact: "0" it had no record and has one now,
// "1" it had one, "-" it has none and none was to be made. An error "QUEUES n"
// says that the contacts are kept in another number of queues.
//
// A retry takes the contact out of the index of parked ones in any case, so that
// a walk over it ends.
//
// A record that was parked starts anew: its attempts are forgotten and it gets
// a new epoch. For the operator so does one that is not locked: it is to be
// looked at now, whenever its wake-up would have come.
//
// The script may run twice for one call: that counts the webhooks twice and
// changes nothing else.
var submitScript = redis.NewScript(clockLua + enqueueLua + countLua + receiptLua + `
local fixed = redis.call('GET', KEYS[5])
if not fixed then
  redis.call('SET', KEYS[5], ARGV[1])
elseif fixed ~= ARGV[1] then
  return redis.error_reply('QUEUES ' .. fixed)
end
local q = {task = ARGV[3], head = ARGV[4], tail = ARGV[5], waiting = KEYS[6], scheduled = KEYS[7]}
local settle = tonumber(ARGV[8])
local answers, received, coalesced = {}, 0, 0
for i = 9, #ARGV, 6 do
  local ref, fresh, role, id, trace = ARGV[i], ARGV[i + 1], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  local by, rank, notify = string.sub(ARGV[i + 2], 1, 1), string.sub(ARGV[i + 2], 2, 2), string.sub(ARGV[i + 2], 3, 3)
  local key = ARGV[2] .. ref
  local rec = redis.call('HMGET', key, 'epoch', 'action', 'parked', 'lock_until', 'gen', 'later')
  local epoch, answer, wake, anew = rec[1], '1', true, false
  if by == 'r' then redis.call('ZREM', KEYS[3], ref) end
  local gen = (rec[5] or 0) + 1
  local set = {key, 'gen', gen}
  if role ~= '' then set[#set + 1] = 'role'; set[#set + 1] = role end
  if notify == '1' then set[#set + 1] = 'notify'; set[#set + 1] = '1' end
  if trace ~= '' then set[#set + 1] = 'trace'; set[#set + 1] = trace end
  if by ~= 'r' then receipt(set, gen, rank, id) end
  if settle > 0 and (epoch or by ~= 'w') then
    set[#set + 1] = 'last'; set[#set + 1] = by == 'w' and now or 0
  end
  if not epoch then
    if by == 'r' then
      answer, wake = '-', false
    else
      answer, epoch, anew = '0', fresh, true
      set[#set + 1] = 'action'; set[#set + 1] = rank
    end
  else
    if tonumber(rank) > tonumber(rec[2]) then set[#set + 1] = 'action'; set[#set + 1] = rank end
    local locked = rec[4] and tonumber(rec[4]) > now
    if rec[3] or (by ~= 'w' and not locked) then
      epoch, anew = fresh, true
      redis.call('HDEL', key, 'parked', 'error', 'code', 'next', 'attempts', 'tries', 'later')
      redis.call('ZREM', KEYS[2], ref)
      if rec[3] then redis.call('ZREM', KEYS[3], ref) end
    else
      if locked and not rec[6] then set[#set + 1] = 'later'; set[#set + 1] = now end
      local state = redis.call('HGET', ARGV[3] .. ref .. ':' .. epoch, 'state')
      if state and state ~= 'archived' and state ~= 'completed' then
        wake = false
      elseif state then
        epoch = fresh
        set[#set + 1] = 'epoch'; set[#set + 1] = epoch
      end
    end
  end
  if anew then
    set[#set + 1] = 'epoch'; set[#set + 1] = epoch
    set[#set + 1] = 'since'; set[#set + 1] = now
  end
  if answer ~= '-' then redis.call('HSET', unpack(set)) end
  if wake then
    local at
    if anew and by == 'w' and settle > 0 then at = now + settle end
    redis.call('ZADD', KEYS[1], (at or now) + ARGV[7], ref)
    enqueue(q, ref, epoch, at)
  end
  if by == 'w' then
    received = received + 1
    if answer == '1' then coalesced = coalesced + 1 end
  end
  answers[#answers + 1] = answer
end
if received > 0 then
  redis.call('HINCRBY', KEYS[4], 'received', received)
  if coalesced > 0 then redis.call('HINCRBY', KEYS[4], 'coalesced', coalesced) end
  count(ARGV[6], {'received', received, 'coalesced', coalesced})
end
return table.concat(answers)
`)

// countLua adds to the counts of this minute and this hour; package shard says
// where they lie. what is a list of names and amounts. The minutes are kept for
// a day, the hours for a month, each a little longer than that.
const countLua = `
local function count(prefix, what)
  local minute = math.floor(time[1] / 60)
  local hour = math.floor(minute / 60)
  local minutes, hours = prefix .. 'm:' .. hour, prefix .. 'h:' .. math.floor(hour / 24)
  for i = 1, #what, 2 do
    local name, n = what[i], what[i + 1]
    if n > 0 then
      if redis.call('HINCRBY', minutes, minute % 60 .. ':' .. name, n) == n then redis.call('EXPIRE', minutes, 93600) end
      if redis.call('HINCRBY', hours, hour % 24 .. ':' .. name, n) == n then redis.call('EXPIRE', hours, 2764800) end
    end
  end
end
`

// cause says who asks for a pass, as submitScript reads it.
type cause string

const (
	byWebhook cause = "w"
	byResync  cause = "s"
	byRetry   cause = "r"
)

// Webhook is what a webhook says of a contact.
type Webhook struct {
	Ref     contact.Ref
	Intent  contact.Intent
	Receipt contact.Receipt // its time is ignored: Redis's counts
}

// Submit records a webhook's intent and makes sure that a wake-up exists, in
// one round trip. When it returns nil a pass that begins afterwards will carry
// the intent out. coalesced says that the contact had outstanding work already.
// After an error the intent may or may not be recorded; the caller must not
// acknowledge it.
func (c *Contacts) Submit(ctx context.Context, ref contact.Ref, intent contact.Intent, receipt contact.Receipt) (coalesced bool, err error) {
	answers, err := c.submit(ctx, c.of(ref), byWebhook, []Webhook{{ref, intent, receipt}})
	return err == nil && answers[0] == existed, err
}

// SubmitAll is [Contacts.Submit] for many webhooks, hundreds to a round trip.
// After an error some of them may be recorded.
func (c *Contacts) SubmitAll(ctx context.Context, webhooks []Webhook) error {
	const batch = 200
	byQueue := make([][]Webhook, len(c.queues))
	for _, w := range webhooks {
		i := c.names.Index(w.Ref)
		byQueue[i] = append(byQueue[i], w)
	}
	for i, mine := range byQueue {
		for part := range slices.Chunk(mine, batch) {
			if _, err := c.submit(ctx, c.queues[i], byWebhook, part); err != nil {
				return err
			}
		}
	}
	return nil
}

// Resync is Submit for the operator: it is not counted as a webhook, and a
// contact that waits for a retry or is parked is looked at now.
func (c *Contacts) Resync(ctx context.Context, ref contact.Ref, intent contact.Intent) (coalesced bool, err error) {
	receipt := contact.Receipt{Action: intent.Action}
	answers, err := c.submit(ctx, c.of(ref), byResync, []Webhook{{ref, intent, receipt}})
	return err == nil && answers[0] == existed, err
}

// Retry wakes a contact that has outstanding work now, parked or not, with its
// attempts forgotten. found is false if it has none.
func (c *Contacts) Retry(ctx context.Context, ref contact.Ref) (found bool, err error) {
	answers, err := c.submit(ctx, c.of(ref), byRetry, []Webhook{{Ref: ref}})
	return err == nil && answers[0] == existed, err
}

// existed is submitScript's answer for a contact that had a record.
const existed = '1'

// OtherQueues says that the contacts in Redis are spread over another number
// of queues than this process was told.
type OtherQueues struct {
	Kept, Asked string
	// Contacts is how many there are; zero: not counted.
	Contacts int64
}

func (e *OtherQueues) Error() string {
	return fmt.Sprintf("Redis keeps contacts in %s queue(s), SPILLWAY_QUEUES says %s: set it to %s everywhere, or let all contacts drain and retry or drop the parked ones first",
		e.Kept, e.Asked, e.Kept)
}

// submit runs the script over webhooks of one queue and returns a character for
// each.
func (c *Contacts) submit(ctx context.Context, q *queue, by cause, webhooks []Webhook) (answers string, err error) {
	c.publish()
	args := make([]any, 0, 8+6*len(webhooks))
	args = append(args, len(c.queues), q.record, q.task, q.message.head, q.message.tail, q.counts,
		grace.Milliseconds(), c.settle.Milliseconds())
	for _, w := range webhooks {
		if w.Intent.Action == 0 && by != byRetry {
			return "", fmt.Errorf("recording contact %s: the intent has no action", w.Ref)
		}
		what := [3]byte{by[0], '0' + byte(w.Intent.Action), '0'}
		if w.Intent.Notify {
			what[2] = '1'
		}
		args = append(args, w.Ref.String(), newToken(), string(what[:]), w.Intent.Role, w.Receipt.RequestID, w.Receipt.Trace)
	}
	keys := []string{q.due, q.retrying, q.parked, q.stats, q.fixed, q.waiting, q.scheduled}
	answers, err = submitScript.Run(ctx, c.rdb, keys, args...).Text()
	switch {
	case err != nil:
		if kept, other := strings.CutPrefix(err.Error(), "QUEUES "); other {
			err = &OtherQueues{Kept: kept, Asked: fmt.Sprint(len(c.queues))}
		}
		return "", fmt.Errorf("recording contact %s: %w", webhooks[0].Ref, err)
	case len(answers) != len(webhooks):
		return "", errors.New("recording contacts: unexpected answer of Redis")
	}
	return answers, nil
}
