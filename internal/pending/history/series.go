package history

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/pending/shard"
)

// Step is the length of a point in time.
type Step time.Duration

// The steps that are counted.
const (
	Minute = Step(time.Minute) // kept for a day
	Hour   = Step(time.Hour)   // kept for 31 days
)

// kept is how many points of a step there are.
func (s Step) kept() int {
	if s == Minute {
		return 24 * 60
	}
	return 31 * 24
}

// Point is what happened in one minute or hour, over all queues.
type Point struct {
	At        time.Time `json:"at"` // its beginning
	Received  int64     `json:"received"`
	Coalesced int64     `json:"coalesced"`
	Synced    int64     `json:"synced"`
	Failed    int64     `json:"failed"`
	Parked    int64     `json:"parked"`
	// DelayMS is the sum, over what was synced, of the time from the first
	// outstanding webhook to the sync.
	DelayMS int64 `json:"delay_ms"`
}

// Series returns the last n points, the oldest first, the current and unfinished
// one last. Fewer than n are returned if fewer are kept. Its cost depends on n
// and on the number of queues alone.
func (t *Timelines) Series(ctx context.Context, step Step, n int) ([]Point, error) {
	if step != Minute && step != Hour {
		return nil, fmt.Errorf("reading counts: there are none per %v, only per minute and per hour", time.Duration(step))
	}
	n = max(1, min(n, step.kept()))
	now, err := t.rdb.Time(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("reading counts: reading the time of Redis: %w", err)
	}
	last := now.Unix() / int64(time.Duration(step).Seconds())
	first := last - int64(n) + 1

	// A key holds the minutes of an hour or the hours of a day.
	prefix, perKey := "m:", int64(60)
	if step == Hour {
		prefix, perKey = "h:", 24
	}
	pipe := t.rdb.Pipeline()
	type part struct {
		base   int64
		fields *redis.MapStringStringCmd
	}
	var parts []part
	for _, queue := range t.queues {
		for key := first / perKey; key <= last/perKey; key++ {
			fields := pipe.HGetAll(ctx, shard.Counts(queue)+prefix+strconv.FormatInt(key, 10))
			parts = append(parts, part{base: key * perKey, fields: fields})
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("reading counts: %w", err)
	}
	points := make([]Point, n)
	for i := range points {
		points[i].At = time.Unix((first+int64(i))*int64(time.Duration(step).Seconds()), 0).UTC()
	}
	for _, p := range parts {
		for field, value := range p.fields.Val() {
			slot, name, ok := cutField(field)
			if index := p.base + slot - first; ok && index >= 0 && index < int64(n) {
				points[index].add(name, value)
			}
		}
	}
	return points, nil
}

func cutField(field string) (slot int64, name string, ok bool) {
	for i := range len(field) {
		if field[i] == ':' {
			slot, err := strconv.ParseInt(field[:i], 10, 64)
			return slot, field[i+1:], err == nil
		}
	}
	return 0, "", false
}

func (p *Point) add(name, value string) {
	n, _ := strconv.ParseInt(value, 10, 64)
	switch name {
	case "received":
		p.Received += n
	case "coalesced":
		p.Coalesced += n
	case "synced":
		p.Synced += n
	case "failed":
		p.Failed += n
	case "parked":
		p.Parked += n
	case "delay":
		p.DelayMS += n
	}
}
