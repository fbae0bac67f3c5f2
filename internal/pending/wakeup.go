package pending

import (
	"context"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// message is asynq's encoded task but for its id, which a script puts between
// the two parts. asynq v0.26 keeps a protobuf of these fields in ascending
// order; a test compares with what its own client writes.
type message struct {
	head string // up to the tag of the id
	tail string // after the id
}

// maxRetry is far more repetitions than asynq will count: it counts none, since
// the record does. A task that asynq gave up on would be archived, and dropped
// when the archive is full.
const maxRetry = 1<<21 - 1

func newMessage(queue string) message {
	const typeField, idField, queueField, retryField, timeoutField = 1, 3, 4, 5, 8
	head := protowire.AppendTag(nil, typeField, protowire.BytesType)
	head = protowire.AppendString(head, TaskType)
	head = protowire.AppendTag(head, idField, protowire.BytesType)
	tail := protowire.AppendTag(nil, queueField, protowire.BytesType)
	tail = protowire.AppendString(tail, queue)
	tail = protowire.AppendTag(tail, retryField, protowire.VarintType)
	tail = protowire.AppendVarint(tail, maxRetry)
	tail = protowire.AppendTag(tail, timeoutField, protowire.VarintType)
	tail = protowire.AppendVarint(tail, uint64(PassTimeout/time.Second))
	return message{head: string(head), tail: string(tail)}
}

// clockLua begins every script: time is that of Redis, now is in ms.
const clockLua = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local now_us = time[1] * 1000000 + time[2]
`

// enqueueLua writes wake-ups as asynq's client does: enqueue the tasks, push
// their ids, which all lie in one key, once for all of them. q names the prefix
// of the tasks, the two parts of the message, and the lists; now and delayed hold
// what to push. at is when a wake-up is due, in ms; nil: now. first puts those
// of now before all that wait. A task of the same id is left alone, so a script
// that is sent twice writes one.
const enqueueLua = `
local since = time[1] .. string.format('%06d', time[2]) .. '000'
local function enqueue(q, ref, epoch, at)
  local id = ref .. ':' .. epoch
  local task = q.task .. id
  if redis.call('EXISTS', task) == 1 then return end
  local length = string.char(#id % 128)
  if #id > 127 then length = string.char(#id % 128 + 128, math.floor(#id / 128)) end
  local msg = q.head .. length .. id .. q.tail
  if at then
    redis.call('HSET', task, 'msg', msg, 'state', 'scheduled')
    table.insert(q.delayed, math.ceil(at / 1000))
    table.insert(q.delayed, id)
  else
    redis.call('HSET', task, 'msg', msg, 'state', 'pending', 'pending_since', since)
    table.insert(q.now, id)
  end
end
local function push(q, first)
  if #q.now > 0 then redis.call(first and 'RPUSH' or 'LPUSH', q.waiting, unpack(q.now)) end
  if #q.delayed > 0 then redis.call('ZADD', q.scheduled, unpack(q.delayed)) end
end
`

// publishInterval is how often a process repeats to asynq which queues there
// are. asynq's own tools list the queues from there; nothing else needs it.
const publishInterval = time.Minute

// listKey is asynq's list of queues.
const listKey = "asynq:queues"

// publish tells asynq which queues there are, if that was not done lately. It
// neither waits nor fails: the list lies on a node of its own in a cluster.
func (c *Contacts) publish() {
	now := time.Now().UnixMilli()
	if now-c.published.Load() < publishInterval.Milliseconds() || !c.publishing.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer c.publishing.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		names := make([]any, len(c.names))
		for i, name := range c.names {
			names[i] = name
		}
		if c.rdb.SAdd(ctx, listKey, names...).Err() == nil {
			c.published.Store(now)
		}
	}()
}
