// Package shard spreads contacts over the queues of an installation and names
// the keys that more than one package shares.
//
// A queue's keys carry its name as their hash tag, so all of them live on one
// node of a Redis Cluster and one script can change them together. Each site has
// queues of its own; more of them use more nodes. A contact belongs to one queue
// for as long as the number of queues stays what it is.
package shard

import (
	"strconv"
	"strings"

	"spillway/internal/contact"
)

// Queues are the names of a site's queues.
type Queues []string

// Over returns the names of the n queues of a site: "spillway" alone, or
// "spillway-0" and so on, for [contact.DefaultSite]; "spillway.SITE", or
// "spillway.SITE.0" and so on, for others, whose names hold no dot. Less than
// one is one.
func Over(site string, n int) Queues {
	name, between := "spillway", "-"
	if site != contact.DefaultSite {
		name, between = name+"."+site, "."
	}
	if n <= 1 {
		return Queues{name}
	}
	queues := make(Queues, n)
	for i := range queues {
		queues[i] = name + between + strconv.Itoa(i)
	}
	return queues
}

// KeysOf names the keys of all queues of a site, asynq's included, over however
// many it was ever spread; a * at the end of one stands for anything.
func KeysOf(site string) []string {
	one, more := "{"+Over(site, 1)[0]+"}:*", "{"+strings.TrimSuffix(Over(site, 2)[0], "0")+"*"
	return []string{"spw:" + one, "spw:" + more, "asynq:" + one, "asynq:" + more}
}

// Index returns which queue a contact belongs to. The hash (FNV-1a) must stay
// what it is: records lie where it once put them.
func (q Queues) Index(ref contact.Ref) int {
	if len(q) == 1 {
		return 0
	}
	const offset, prime = 2166136261, 16777619
	hash := uint32(offset)
	for _, part := range [...]string{ref.Site, ":", ref.ID} {
		for i := range len(part) {
			hash = (hash ^ uint32(part[i])) * prime
		}
	}
	return int(hash % uint32(len(q)))
}

// Of returns the name of the queue that a contact belongs to.
func (q Queues) Of(ref contact.Ref) string { return q[q.Index(ref)] }

// Prefix begins every key of a queue.
func Prefix(queue string) string { return "spw:{" + queue + "}:" }

// Timeline is the list of what happened to a contact, the newest first. A text
// that begins with [SyncedMark] tells of a sync.
func Timeline(queue string, ref contact.Ref) string { return Prefix(queue) + "h:" + ref.String() }

// LastSync holds the text of a contact's last sync when its timeline has grown
// too long to hold it.
func LastSync(queue string, ref contact.Ref) string { return Timeline(queue, ref) + ":last" }

// SyncedMark begins the text of an event that tells of a sync, RetryingMark that
// of a failure that is retried.
const (
	SyncedMark   = "+"
	RetryingMark = "-"
)

// Counts begins the keys of the counts over time: hashes "m:HOUR" with a field
// "MINUTE:NAME" for every minute of an hour, and "h:DAY" with a field
// "HOUR:NAME" for every hour of a day. HOUR and DAY count since 1970 in UTC.
func Counts(queue string) string { return Prefix(queue) + "n:" }
