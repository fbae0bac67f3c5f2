// Package history keeps what happened to each contact: a short timeline in
// Redis that forgets itself. It is for the operator's eyes. A timeline may miss
// an event that a crash cut off; nothing is decided by it. It holds no personal
// data.
package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

const (
	length = 20                  // events of a contact
	keep   = 30 * 24 * time.Hour // after its last event
)

// Event is the end of one pass.
type Event struct {
	Time time.Time `json:"time"`
	// Kind is "synced", "retrying" or "parked".
	Kind    string `json:"kind"`
	Action  string `json:"action"`
	Outcome string `json:"outcome,omitempty"` // what the site did, of a synced contact
	// UserID is the site's id of the user.
	UserID int64    `json:"user_id,omitempty"`
	Notes  []string `json:"notes,omitempty"`
	// Waited is how long the contact's work was outstanding, Took how long the
	// pass took, both in milliseconds.
	Waited int64  `json:"waited_ms"`
	Took   int64  `json:"took_ms"`
	Code   string `json:"code,omitempty"`
	Error  string `json:"error,omitempty"`
}

// The kinds of events.
const (
	Synced   = "synced"
	Retrying = "retrying"
	Parked   = "parked"
)

// Timelines are the contacts' timelines.
type Timelines struct {
	rdb redis.UniversalClient
}

// New returns the timelines in a Redis.
func New(rdb redis.UniversalClient) *Timelines { return &Timelines{rdb: rdb} }

func timelineKey(ref contact.Ref) string { return "spw:h:" + ref.String() }
func lastKey(ref contact.Ref) string     { return "spw:h:" + ref.String() + ":last" }

// Add appends an event. The last sync is kept apart, so that many failures do
// not push it out.
func (t *Timelines) Add(ctx context.Context, ref contact.Ref, event Event) error {
	text, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encoding an event of contact %s: %w", ref, err)
	}
	key := timelineKey(ref)
	_, err = t.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.LPush(ctx, key, text)
		pipe.LTrim(ctx, key, 0, length-1)
		pipe.Expire(ctx, key, keep)
		if event.Kind == Synced {
			pipe.Set(ctx, lastKey(ref), event.Time.UTC().Format(time.RFC3339Nano), keep)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keeping an event of contact %s: %w", ref, err)
	}
	return nil
}

// Timeline returns a contact's events, the newest first, and when it was last
// synced; the time is zero if that is not known.
func (t *Timelines) Timeline(ctx context.Context, ref contact.Ref) (events []Event, lastSync time.Time, err error) {
	texts, err := t.rdb.LRange(ctx, timelineKey(ref), 0, -1).Result()
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("reading the timeline of contact %s: %w", ref, err)
	}
	last, err := t.rdb.Get(ctx, lastKey(ref)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, time.Time{}, fmt.Errorf("reading the last sync of contact %s: %w", ref, err)
	}
	lastSync, _ = time.Parse(time.RFC3339Nano, last)
	for _, text := range texts {
		var event Event
		if json.Unmarshal([]byte(text), &event) == nil { // an older format is skipped
			events = append(events, event)
		}
	}
	return events, lastSync, nil
}
