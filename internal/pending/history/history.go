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
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
	"spillway/internal/pending/shard"
)

// Timelines are the contacts' timelines and the counts over time.
type Timelines struct {
	rdb    redis.UniversalClient
	queues shard.Queues
}

// New returns the timelines of a site's contacts, which are spread over so many
// queues.
func New(rdb redis.UniversalClient, site string, queues int) *Timelines {
	return &Timelines{rdb: rdb, queues: shard.Over(site, queues)}
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
