package pending

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

// State is where a contact stands. Exactly one holds at a time.
type State string

// The states of a contact.
const (
	Idle     State = "idle"     // no outstanding work
	Pending  State = "pending"  // waiting for its pass
	Active   State = "active"   // a pass is under way
	Retrying State = "retrying" // the last pass failed, the next one is scheduled
	Parked   State = "parked"   // failed for good; waits for a webhook or the operator
)

// Record is what is known of a contact's outstanding work.
type Record struct {
	Ref      contact.Ref
	State    State
	Intent   contact.Intent
	Webhooks int64 // since the work became outstanding
	Attempts int
	Failure  Failure   // of the last pass, if it failed
	Since    time.Time // the work became outstanding, or was parked
	Next     time.Time // the next pass of a retrying contact
}

// Lookup returns the record of a contact; its state is [Idle] if it has none.
func (c *Contacts) Lookup(ctx context.Context, ref contact.Ref) (Record, error) {
	var now *redis.TimeCmd
	var fields *redis.MapStringStringCmd
	_, err := c.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		fields, now = pipe.HGetAll(ctx, c.keys.of(ref)), pipe.Time(ctx)
		return nil
	})
	if err != nil {
		return Record{}, fmt.Errorf("looking up contact %s: %w", ref, err)
	}
	return recordOf(ref, fields.Val(), now.Val()), nil
}

func recordOf(ref contact.Ref, fields map[string]string, now time.Time) Record {
	if len(fields) == 0 {
		return Record{Ref: ref, State: Idle}
	}
	millis := func(name string) time.Time {
		n, err := strconv.ParseInt(fields[name], 10, 64)
		if err != nil {
			return time.Time{}
		}
		return time.UnixMilli(n).UTC()
	}
	record := Record{
		Ref: ref, State: Pending, Since: millis("since"),
		Intent:   contact.Intent{Action: contact.Action(atoi(fields["action"])), Role: fields["role"], Notify: fields["notify"] == "1"},
		Attempts: atoi(fields["attempts"]),
		Failure:  Failure{Code: fields["code"], Text: fields["error"]},
	}
	record.Webhooks, _ = strconv.ParseInt(fields["gen"], 10, 64)
	switch {
	case fields["parked"] != "":
		record.State, record.Since = Parked, millis("parked")
	case millis("lock_until").After(now):
		record.State = Active
	case fields["code"] != "":
		record.State, record.Next = Retrying, millis("next")
	}
	return record
}

// ListParked returns parked contacts, the longest parked first.
func (c *Contacts) ListParked(ctx context.Context, offset, limit int) ([]Record, error) {
	members, err := c.rdb.ZRange(ctx, c.keys.parked, int64(offset), int64(offset+limit-1)).Result()
	if err != nil {
		return nil, fmt.Errorf("listing parked contacts: %w", err)
	}
	records := make([]Record, 0, len(members))
	for _, member := range members {
		ref, err := contact.ParseRef(member)
		if err != nil {
			return nil, fmt.Errorf("listing parked contacts: the index holds %q: %w", member, err)
		}
		record, err := c.Lookup(ctx, ref)
		if err != nil {
			return nil, err
		}
		if record.State == Parked { // it may have been woken meanwhile
			records = append(records, record)
		}
	}
	return records, nil
}

// RetryParked wakes every contact that is parked at the time of the call and
// returns how many it woke.
func (c *Contacts) RetryParked(ctx context.Context) (woken int, err error) {
	members, err := c.rdb.ZRange(ctx, c.keys.parked, 0, -1).Result()
	if err != nil {
		return 0, fmt.Errorf("listing parked contacts: %w", err)
	}
	for _, member := range members {
		ref, err := contact.ParseRef(member)
		if err != nil {
			return woken, fmt.Errorf("retrying parked contacts: the index holds %q: %w", member, err)
		}
		found, err := c.Retry(ctx, ref)
		if err != nil {
			return woken, err
		}
		if found {
			woken++
		}
	}
	return woken, nil
}

// Stats counts contacts by state, and what happened since Redis was empty.
type Stats struct {
	Received  int64 `json:"received"`  // webhooks
	Coalesced int64 `json:"coalesced"` // of them, for a contact that had outstanding work
	Synced    int64 `json:"synced"`    // passes that succeeded
	Failed    int64 `json:"failed"`    // passes that failed
	Pending   int64 `json:"pending"`
	Active    int64 `json:"active"`
	Retrying  int64 `json:"retrying"`
	Parked    int64 `json:"parked"`
}

// Stats costs six short commands, however many contacts there are. A contact
// whose pass was killed counts as active until the sweep wakes it.
func (c *Contacts) Stats(ctx context.Context) (Stats, error) {
	var counters *redis.MapStringStringCmd
	var due, active, retrying, parked *redis.IntCmd
	_, err := c.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		counters = pipe.HGetAll(ctx, c.keys.stats)
		due, active = pipe.ZCard(ctx, c.keys.due), pipe.ZCard(ctx, c.keys.active)
		retrying, parked = pipe.ZCard(ctx, c.keys.retrying), pipe.ZCard(ctx, c.keys.parked)
		return nil
	})
	if err != nil {
		return Stats{}, fmt.Errorf("reading the counters: %w", err)
	}
	count := func(name string) int64 {
		n, _ := strconv.ParseInt(counters.Val()[name], 10, 64)
		return n
	}
	return Stats{
		Received: count("received"), Coalesced: count("coalesced"), Synced: count("synced"), Failed: count("failed"),
		Pending: due.Val() - active.Val() - retrying.Val(),
		Active:  active.Val(), Retrying: retrying.Val(), Parked: parked.Val(),
	}, nil
}
