// Package history tells what happened to each contact, and how much happened
// when: a short timeline for each contact and counts for each minute and hour,
// in Redis, which forget themselves. It is for the operator's eyes; nothing is
// decided by it. It holds no personal data.
//
// It only reads. An event is written by the script that ends the pass it tells
// of, in the same round trip, as the text that [Event.Encode] returns; the
// counts are written by the scripts that take webhooks and end passes. Package
// shard says where they lie.
package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
	"spillway/internal/shard"
)

// Event is the end of one pass, or of a parked contact that was dropped.
type Event struct {
	Time time.Time `json:"time"`
	// Kind is "synced", "retrying", "parked" or "dropped".
	Kind    string `json:"kind"`
	Action  string `json:"action"`
	Outcome string `json:"outcome,omitempty"` // what the site did, of a synced contact
	// UserID is the site's id of the user.
	UserID int64    `json:"user_id,omitempty"`
	Role   string   `json:"role,omitempty"` // that the user has, if the site said so
	Notes  []string `json:"notes,omitempty"`
	// Waited is how long the contact's work was outstanding, Took how long the
	// pass took, both in milliseconds.
	Waited int64  `json:"waited_ms"`
	Took   int64  `json:"took_ms"`
	Code   string `json:"code,omitempty"`
	Error  string `json:"error,omitempty"`
	// PasswordReturned says that the CRM was given the user's new password.
	PasswordReturned bool `json:"password_returned,omitempty"`
	// Webhooks are the latest of those that this pass was the first to see, the
	// newest last; Covered is how many there were in all. A retry may have none.
	Webhooks []contact.Receipt `json:"webhooks,omitempty"`
	Covered  int               `json:"covered"`
	// RequestID names the contact's newest webhook in the logs.
	RequestID string `json:"request_id,omitempty"`
}

// The kinds of events.
const (
	Synced   = "synced"
	Retrying = "retrying"
	Parked   = "parked"
	Dropped  = "dropped" // a parked contact, by the operator; no pass
)

// Encode returns the event as timelines hold it.
func (e Event) Encode() string {
	text, err := json.Marshal(e)
	if err != nil { // no part of an event can fail
		return ""
	}
	if e.Kind == Synced {
		return shard.SyncedMark + string(text)
	}
	return string(text)
}

// Decode reads what [Event.Encode] wrote; ok is false for anything else.
func Decode(text string) (event Event, ok bool) {
	err := json.Unmarshal([]byte(strings.TrimPrefix(text, shard.SyncedMark)), &event)
	return event, err == nil
}

// Timelines are the contacts' timelines and the counts over time.
type Timelines struct {
	rdb    redis.UniversalClient
	queues shard.Queues
}

// New returns the timelines of contacts that are spread over so many queues.
func New(rdb redis.UniversalClient, queues int) *Timelines {
	return &Timelines{rdb: rdb, queues: shard.Over(queues)}
}

// Timeline returns a contact's events, the newest first, and when it was last
// synced; the time is zero if that is not known.
func (t *Timelines) Timeline(ctx context.Context, ref contact.Ref) (events []Event, lastSync time.Time, err error) {
	queue := t.queues.Of(ref)
	pipe := t.rdb.Pipeline()
	texts := pipe.LRange(ctx, shard.Timeline(queue, ref), 0, -1)
	last := pipe.Get(ctx, shard.LastSync(queue, ref))
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, time.Time{}, fmt.Errorf("reading the timeline of contact %s: %w", ref, err)
	}
	for _, text := range append(texts.Val(), last.Val()) {
		event, ok := Decode(text)
		if !ok { // none, or of an older format
			continue
		}
		if event.Kind == Synced && lastSync.IsZero() {
			lastSync = event.Time
		}
		events = append(events, event)
	}
	return events, lastSync, nil
}
