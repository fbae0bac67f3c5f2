package pending

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

// submitScript records that contacts have work to do and writes their wake-ups.
//
// KEYS[1] due  KEYS[2] retrying  KEYS[3] parked  KEYS[4] stats  KEYS[5] number
// of queues  KEYS[6] asynq's waiting wake-ups  KEYS[7] its scheduled ones
// KEYS[8] its mark of a paused queue
// ARGV[1] number of queues  ARGV[2] prefix of the records  ARGV[3] prefix of
// asynq's tasks (both share the hash tag of the keys)  ARGV[4], ARGV[5] the two
// parts of asynq's message  ARGV[6] prefix of the counts  ARGV[7] ms until the
// sweep looks for a wake-up  ARGV[8] ms for which a contact settles  ARGV[9] the
// cause: "w" webhooks, "s" a resync (as a webhook, but not counted as one, and
// now), "r" a retry (now, and only if there is a record) or "p" a retry of a
// contact that is parked still
// and then for each contact: SITE:ID, an epoch for a new record, two
// characters and more, the role (empty: none), the request id, the trace (empty:
// none). The characters are the rank of the action, 0: none; and "1": send the
// mail; what follows them is how many ms the sender is ready to wait.
//
// Returns a character for each contact: "0" it had no record and has one now,
// "1" it had one, "-" it has none and should get none; and after them, for each
// sender who may wait, " INDEX GEN LIFE", see waitLua. An error "QUEUES n" says
// that the contacts are kept in another number of queues.
//
// A retry takes the contact out of the index of parked ones in any case, so that
// a walk over it ends.
//
// A record that was parked starts anew: its attempts are forgotten and it gets
// a new epoch. An operator's wish does the same to a record that is not locked:
// its contact gets a pass now, whenever its wake-up would have come.
//
// The script may run twice for one call: that counts the webhooks twice and
// changes nothing else.
//
// What all contacts write into one key is gathered and written once, since most
// of a new contact's cost is that of its commands.
var submitScript = redis.NewScript(clockLua + enqueueLua + countLua + receiptLua + waitLua + `
local call, sub, by = redis.call, string.sub, ARGV[9]
local parkedOnly = by == 'p'
if parkedOnly then by = 'r' end
local fixed = call('GET', KEYS[5])
if not fixed then
  call('SET', KEYS[5], ARGV[1])
elseif fixed ~= ARGV[1] then
  return redis.error_reply('QUEUES ' .. fixed)
end
local q = {task = ARGV[3], head = ARGV[4], tail = ARGV[5], waiting = KEYS[6], scheduled = KEYS[7], now = {}, delayed = {}}
local settle = tonumber(ARGV[8])
local settled = by == 'w' and settle > 0 and now + settle
local due, dueNow, dueSettled = {}, tostring(now + ARGV[7]), settled and tostring(settled + ARGV[7])
local set, n
local function put(field, value)
  set[n + 1], set[n + 2], n = field, value, n + 2
end
local answers, coalesced, waits = {}, 0, {}
for i = 10, #ARGV, 6 do
  local ref, fresh, role, id, trace = ARGV[i], ARGV[i + 1], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  local rank = sub(ARGV[i + 2], 1, 1)
  local key = ARGV[2] .. ref
  local rec = call('HMGET', key, 'epoch', 'action', 'parked', 'lock_until', 'gen', 'later')
  local epoch, answer, wake, anew = rec[1], '1', true, false
  if by == 'r' then call('ZREM', KEYS[3], ref) end
  local gen = rec[5] and string.format('%d', rec[5] + 1) or '1'
  set, n = {key, 'gen', gen}, 3
  if role ~= '' then put('role', role) end
  if sub(ARGV[i + 2], 2, 2) == '1' then put('notify', '1') end
  if trace ~= '' then put('trace', trace) end
  if by ~= 'r' then put(receipt(gen, rank, id)) end
  if settle > 0 and (epoch or by ~= 'w') then put('last', by == 'w' and now or 0) end
  if not epoch or (parkedOnly and not rec[3]) then
    if by == 'r' then
      answer, wake = '-', false
    else
      answer, epoch, anew = '0', fresh, true
      put('action', rank)
    end
  else
    if tonumber(rank) > tonumber(rec[2]) then put('action', rank) end
    local locked = rec[4] and tonumber(rec[4]) > now
    if rec[3] or (by ~= 'w' and not locked) then
      epoch, anew = fresh, true
      call('HDEL', key, 'parked', 'error', 'code', 'next', 'attempts', 'tries', 'later')
      call('ZREM', KEYS[2], ref)
      if rec[3] then call('ZREM', KEYS[3], ref) end
    else
      if locked and not rec[6] then put('later', now) end
      local state = call('HGET', ARGV[3] .. ref .. ':' .. epoch, 'state')
      if state and state ~= 'archived' and state ~= 'completed' then
        wake = false
      elseif state then
        epoch = fresh
        put('epoch', epoch)
      end
    end
  end
  if anew then
    put('epoch', epoch)
    put('since', stamp)
  end
  local patience = tonumber(sub(ARGV[i + 2], 3))
  if patience and inTime(KEYS, ARGV[6], #q.now, key, anew, patience) then
    local life = call('HGET', key, 'life') or fresh
    put('life', life)
    waits[#waits + 1] = ' ' .. #answers .. ' ' .. gen .. ' ' .. life
  end
  if answer ~= '-' then call('HSET', unpack(set)) end
  if wake then
    local at = anew and settled
    due[#due + 1], due[#due + 2] = at and dueSettled or dueNow, ref
    enqueue(q, ref, epoch, at)
  end
  if answer == '1' then coalesced = coalesced + 1 end
  answers[#answers + 1] = answer
end
if #due > 0 then call('ZADD', KEYS[1], unpack(due)) end
push(q)
if by == 'w' then
  call('HINCRBY', KEYS[4], 'received', #answers)
  call('HSET', KEYS[4], 'last_webhook', now)
  if coalesced > 0 then call('HINCRBY', KEYS[4], 'coalesced', coalesced) end
  count(ARGV[6], {'received', #answers, 'coalesced', coalesced})
end
return table.concat(answers) .. table.concat(waits)
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

// cause says what asks for a pass, as submitScript reads it.
type cause string

const (
	byWebhook cause = "w"
	byResync  cause = "s"
	byRetry   cause = "r"
	byParked  cause = "p"
)

// ranks are the two characters of an action, without and with the mail.
var ranks = [...][2]string{
	0:                  {"00", "01"},
	contact.UpdateTags: {"10", "11"},
	contact.Update:     {"20", "21"},
	contact.Add:        {"30", "31"},
}

// Webhook is what a webhook says of a contact.
type Webhook struct {
	Ref     contact.Ref
	Intent  contact.Intent
	Receipt contact.Receipt // its time is ignored: Redis's counts

	patience time.Duration // for which the sender is ready to wait; zero: not at all
}

// Submit records a webhook's intent and makes sure that a wake-up exists, in
// one round trip. When it returns nil a pass that begins afterwards will carry
// the intent out. coalesced says that the contact had outstanding work already.
// After an error the intent may or may not be recorded; the caller must not
// acknowledge it.
func (c *Contacts) Submit(ctx context.Context, ref contact.Ref, intent contact.Intent, receipt contact.Receipt) (coalesced bool, err error) {
	answers, _, err := c.submit(ctx, c.queueOf(ref), byWebhook, []Webhook{{Ref: ref, Intent: intent, Receipt: receipt}})
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
			if _, _, err := c.submit(ctx, c.queues[i], byWebhook, part); err != nil {
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
	answers, _, err := c.submit(ctx, c.queueOf(ref), byResync, []Webhook{{Ref: ref, Intent: intent, Receipt: receipt}})
	return err == nil && answers[0] == existed, err
}

// Retry wakes a contact that has outstanding work now, parked or not, with its
// attempts forgotten. found is false if it has none.
func (c *Contacts) Retry(ctx context.Context, ref contact.Ref) (found bool, err error) {
	answers, _, err := c.submit(ctx, c.queueOf(ref), byRetry, []Webhook{{Ref: ref}})
	return err == nil && answers[0] == existed, err
}

// existed is submitScript's answer for a contact that had a record.
const existed = '1'

// OtherQueues says that the contacts in Redis are spread over another number
// of queues than this process was told.
type OtherQueues struct {
	Site        string
	Kept, Asked string
	// Contacts is how many there are; zero: not counted.
	Contacts int64
	// Unfinished says that a change to Kept began and did not come to its end.
	Unfinished bool
}

func (e *OtherQueues) Error() string {
	if e.Unfinished {
		return fmt.Sprintf("a change of SPILLWAY_QUEUES from %s to %s was cut off: start with %s once, which finishes it, then change it back if you want %s",
			e.Asked, e.Kept, e.Kept, e.Asked)
	}
	return fmt.Sprintf("Redis keeps contacts of site %s in %s queue(s), SPILLWAY_QUEUES says %s: set it to %s everywhere, or let all contacts drain and retry or drop the parked ones first",
		e.Site, e.Kept, e.Asked, e.Kept)
}

// submit runs the script over webhooks of one queue and returns a character for
// each, and which of their senders may wait for what, by the webhook's index.
func (c *Contacts) submit(ctx context.Context, q *queue, by cause, webhooks []Webhook) (answers string, awaited map[int]awaited, err error) {
	c.publish()
	// Pointers, since a string costs an allocation to become an argument.
	args := make([]any, 0, 9+6*len(webhooks))
	refs, epochs := make([]string, len(webhooks)), newTokens(len(webhooks))
	args = append(args, len(c.queues), q.record, q.task, q.message.head, q.message.tail, q.counts,
		grace.Milliseconds(), c.settle.Milliseconds(), string(by))
	for i := range webhooks {
		w := &webhooks[i]
		if w.Intent.Action == 0 && by != byRetry && by != byParked {
			return "", nil, fmt.Errorf("recording contact %s: the intent has no action", w.Ref)
		}
		what := &ranks[w.Intent.Action][0]
		if w.Intent.Notify {
			what = &ranks[w.Intent.Action][1]
		}
		if w.patience > 0 {
			patient := *what + strconv.FormatInt(w.patience.Milliseconds(), 10)
			what = &patient
		}
		refs[i] = w.Ref.String()
		args = append(args, &refs[i], &epochs[i], what, &w.Intent.Role, &w.Receipt.RequestID, &w.Receipt.Trace)
	}
	keys := []string{q.due, q.retrying, q.parked, q.stats, q.fixed, q.waiting, q.scheduled, q.paused}
	answer, err := c.record(ctx, q, submitScript, keys, args...)
	if err != nil {
		if kept, other := strings.CutPrefix(err.Error(), "QUEUES "); other {
			err = &OtherQueues{Site: c.site, Kept: kept, Asked: fmt.Sprint(len(c.queues))}
		}
		return "", nil, fmt.Errorf("recording contact %s: %w", webhooks[0].Ref, err)
	}
	answers, rest, _ := strings.Cut(answer, " ")
	if len(answers) != len(webhooks) {
		return "", nil, errors.New("recording contacts: unexpected answer of Redis")
	}
	return answers, parseAwaited(rest), nil
}
