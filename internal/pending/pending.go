// Package pending keeps the contacts that have outstanding work in Redis.
//
// It guarantees: a contact whose Submit returned without error will be claimed
// after that moment, whatever crashes; at most one claim of a contact is held
// at a time, over all processes; a claim that began before a Submit cannot
// finish the contact. It relies on Redis keeping what it acknowledged
// (append-only file, no eviction) and on a claim's holder giving up before its
// lock ends. Where Redis was told to write only with a replica in step
// (min-replicas-to-write), Submit returns nil only after a replica has the
// contact too, so a failover keeps it.
//
// Every contact with outstanding work has one record, and every record has a
// wake-up: an asynq task named SITE:ID:EPOCH that says "look at this record
// now". asynq only schedules; the record is the truth. A wake-up that is lost,
// doubled or late does no harm: without one the sweep gives the record a new
// epoch and a new wake-up, and a wake-up whose epoch is not the record's finds
// itself stale.
//
// A [Contacts] holds those of one site, spread over queues. All keys of a queue, asynq's included, carry
// the queue's hash tag, so one script changes them together, in a cluster too:
// a webhook is one script, which changes the record and writes the wake-up.
package pending

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
	"spillway/internal/pending/shard"
)

const (
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

// Options say how contacts are kept.
type Options struct {
	// Site is the site that the contacts belong to; empty: [contact.DefaultSite].
	Site string
	// Queues is how many queues contacts are spread over; zero: one. It is the
	// same for every process of an installation, see [Contacts.Adopt].
	Queues int
	// Settle is how long a contact must have been without a webhook before its
	// pass begins. The wait ends after ten times that, counted from the first
	// webhook. Zero: passes begin at once.
	Settle time.Duration
	// Room says what Redis has memory for; nil: for all.
	Room Room
}

// Room tells what Redis has memory for.
type Room interface {
	// Remembers says that events may be added to timelines.
	Remembers() bool
	// Refuses says that no webhook may be recorded: the memory that is left is
	// what passes need to make room.
	Refuses() bool
}

// ErrFull says that a webhook was not recorded, since Redis has only the memory
// left that passes need.
var ErrFull = errors.New("the memory of Redis is used up (maxmemory): give it more, or wait until contacts have drained")

// Contacts is the set of a site's contacts with outstanding work.
type Contacts struct {
	rdb    redis.UniversalClient
	site   string
	names  shard.Queues
	queues []*queue
	settle time.Duration
	room   Room

	published  atomic.Int64 // when asynq was last told of the queues, Unix ms
	publishing atomic.Bool
}

// New returns the contacts of a site that are kept in a Redis.
func New(rdb redis.UniversalClient, options Options) *Contacts {
	if options.Site == "" {
		options.Site = contact.DefaultSite
	}
	c := &Contacts{
		rdb: rdb, site: options.Site, names: shard.Over(options.Site, options.Queues), settle: options.Settle, room: options.Room,
	}
	for _, name := range c.names {
		c.queues = append(c.queues, newQueue(name))
	}
	return c
}

// Queues returns the names of the asynq queues that wake the contacts.
func (c *Contacts) Queues() []string { return append([]string(nil), c.names...) }

// of returns the queue that a contact belongs to.
func (c *Contacts) queueOf(ref contact.Ref) *queue { return c.queues[c.names.Index(ref)] }

// queue names the keys of a queue.
type queue struct {
	name     string
	due      string // sorted set SITE:ID → next check in ms: every record that is not parked
	active   string // sorted set SITE:ID → outstanding since ms: claimed
	retrying string // sorted set SITE:ID → outstanding since ms: failed, waiting for the next attempt
	parked   string // sorted set SITE:ID → since ms: failed for good
	stats    string // hash of counters
	fixed    string // how many queues there are
	record   string // prefix of the records
	counts   string // prefix of the counts over time
	absent   string // prefix of when contacts were first missed in the CRM

	// asynq's keys.
	task, waiting, scheduled, retries, lease, paused string
	message                                          message

	replicas replicas // of the master that has the keys
}

func newQueue(name string) *queue {
	ours, theirs := shard.Prefix(name), "asynq:{"+name+"}:"
	return &queue{
		name: name, due: ours + "due", active: ours + "active", retrying: ours + "retrying", parked: ours + "parked",
		stats: ours + "stats", fixed: ours + "queues", record: ours + "c:", absent: ours + "absent:", counts: shard.Counts(name),
		task: theirs + "t:", waiting: theirs + "pending", scheduled: theirs + "scheduled", retries: theirs + "retry",
		lease: theirs + "lease", paused: theirs + "paused", message: newMessage(name),
	}
}

func (q *queue) recordKey(ref contact.Ref) string { return q.record + ref.String() }

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
func newToken() string { return newTokens(1)[0] }

// newTokens returns as many tokens, for little more than the cost of one.
func newTokens(n int) []string {
	const size, length = 8, 11 // of a token as bytes and as text
	random := make([]byte, n*size)
	_, _ = rand.Read(random) // never fails, see crypto/rand
	text := make([]byte, 0, n*length)
	for part := range slices.Chunk(random, size) {
		text = base64.RawURLEncoding.AppendEncode(text, part)
	}
	all, tokens := string(text), make([]string, n)
	for i := range tokens {
		tokens[i] = all[i*length : (i+1)*length]
	}
	return tokens
}
