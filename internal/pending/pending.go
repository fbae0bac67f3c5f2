// Package pending keeps the contacts that have outstanding work in Redis.
//
// It guarantees: a contact whose Submit returned without error will be claimed
// after that moment, whatever crashes; at most one claim of a contact is held
// at a time, over all processes; a claim that began before a Submit cannot
// finish the contact. It relies on Redis keeping what it acknowledged
// (append-only file, no eviction) and on a claim's holder giving up before its
// lock ends.
//
// Every contact with outstanding work has one record, and every record has a
// wake-up: an asynq task named SITE:ID:EPOCH that says "look at this record
// now". asynq only schedules; the record is the truth. A wake-up that is lost,
// doubled or late does no harm: without one the sweep gives the record a new
// epoch and a new wake-up, and a wake-up whose epoch is not the record's finds
// itself stale.
//
// All keys of a queue, asynq's included, carry the queue's hash tag, so one
// script changes them together, in a cluster too.
package pending

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

const (
	// DefaultQueue is the asynq queue of an installation that has one.
	DefaultQueue = "spillway"
	// TaskType is the type of every wake-up.
	TaskType = "contact"
	// PassTimeout ends a pass. asynq schedules a repetition then, while the
	// handler may still run: the record's lock must outlast it.
	PassTimeout = 40 * time.Second
	// Lock is how long a claim keeps others out, by the clock of Redis.
	Lock = 45 * time.Second
	// grace is how much later than expected a wake-up may come before the
	// sweep looks for it.
	grace = 15 * time.Second
	// lockGrace is the same for a claim whose lock ended.
	lockGrace = 2 * time.Second
)

// Contacts is the set of contacts with outstanding work in one queue.
type Contacts struct {
	rdb   redis.UniversalClient
	tasks *asynq.Client
	queue string
	keys  keys
}

// New returns the contacts of a queue, whose name holds no braces.
func New(rdb redis.UniversalClient, queue string) *Contacts {
	return &Contacts{rdb: rdb, tasks: asynq.NewClientFromRedisClient(rdb), queue: queue, keys: keysOf(queue)}
}

// Queue returns the name of the asynq queue that wakes the contacts.
func (c *Contacts) Queue() string { return c.queue }

// keys are the names of a queue's keys.
type keys struct {
	due      string // sorted set SITE:ID → next check in ms: every record that is not parked
	active   string // sorted set SITE:ID → since ms: claimed
	retrying string // sorted set SITE:ID → since ms: failed, waiting for the next attempt
	parked   string // sorted set SITE:ID → since ms: failed for good
	stats    string // hash of counters
	record   string // prefix of the records
	task     string // prefix of asynq's tasks
	lease    string // asynq's leases
}

func keysOf(queue string) keys {
	ours, theirs := "spw:{"+queue+"}:", "asynq:{"+queue+"}:"
	return keys{
		due: ours + "due", active: ours + "active", retrying: ours + "retrying", parked: ours + "parked",
		stats: ours + "stats", record: ours + "c:", task: theirs + "t:", lease: theirs + "lease",
	}
}

func (k keys) of(ref contact.Ref) string { return k.record + ref.String() }

// wakeUp enqueues the task that makes a worker look at the contact. The same
// epoch enqueued twice is one task, so a repetition after a lost answer is
// harmless.
func (c *Contacts) wakeUp(ctx context.Context, ref contact.Ref, epoch string) error {
	_, err := c.tasks.EnqueueContext(ctx, asynq.NewTask(TaskType, nil),
		asynq.TaskID(taskID(ref, epoch)),
		asynq.Queue(c.queue),
		asynq.Timeout(PassTimeout),
		// The record counts attempts. A task that asynq gave up on would be
		// archived, and dropped when the archive is full.
		asynq.MaxRetry(math.MaxInt32),
		asynq.Retention(0),
	)
	if err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
		return fmt.Errorf("enqueueing the wake-up of contact %s: %w", ref, err)
	}
	return nil
}

func taskID(ref contact.Ref, epoch string) string { return ref.String() + ":" + epoch }

// ParseTaskID reads the contact and the epoch from a wake-up's id.
func ParseTaskID(id string) (contact.Ref, string, error) {
	last := strings.LastIndexByte(id, ':')
	if last < 0 {
		return contact.Ref{}, "", errors.New("a wake-up's id has the form SITE:ID:EPOCH")
	}
	ref, err := contact.ParseRef(id[:last])
	if err != nil {
		return contact.Ref{}, "", err
	}
	return ref, id[last+1:], nil
}

// newToken returns 64 random bits: enough for two epochs or locks of one
// contact never to be equal.
func newToken() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}
