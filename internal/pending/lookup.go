package pending

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
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
	Webhooks int64 // since there is a record, the operator's wishes included
	Attempts int
	Failure  Failure   // of the last pass, if it failed
	Since    time.Time // the work became outstanding, or was parked
	Next     time.Time // the next pass of a retrying contact
	// Received are the latest webhooks that no pass has seen, the newest last;
	// the operator's wishes are among them, without a request id.
	Received []contact.Receipt
}

// lookupScript reads a record and the clock that its times belong to.
//
// KEYS[1] record
//
// Returns {now, fields and values}.
var lookupScript = redis.NewScript(clockLua + `
return {now, redis.call('HGETALL', KEYS[1])}
`)

// Lookup returns the record of a contact; its state is [Idle] if it has none.
func (c *Contacts) Lookup(ctx context.Context, ref contact.Ref) (Record, error) {
	answer, err := lookupScript.Run(ctx, c.rdb, []string{c.queueOf(ref).recordKey(ref)}).Slice()
	if err != nil {
		return Record{}, fmt.Errorf("looking up contact %s: %w", ref, err)
	}
	list, _ := answer[1].([]any)
	fields := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		fields[text(list[i])] = text(list[i+1])
	}
	return recordOf(ref, fields, time.UnixMilli(number(answer[0]))), nil
}

func recordOf(ref contact.Ref, fields map[string]string, now time.Time) Record {
	if len(fields) == 0 {
		return Record{Ref: ref, State: Idle}
	}
	moment := func(name string) time.Time {
		if fields[name] == "" {
			return time.Time{}
		}
		return time.UnixMilli(number(fields[name])).UTC()
	}
	record := Record{
		Ref: ref, State: Pending, Since: moment("since"), Webhooks: number(fields["gen"]),
		Intent: contact.Intent{
			Action: contact.Action(number(fields["action"])), Role: fields["role"], Notify: fields["notify"] == "1",
		},
		Attempts: int(number(fields["attempts"])),
		Failure:  Failure{Code: fields["code"], Text: fields["error"]},
	}
	values := make([]string, 0, ring)
	for i := range ring {
		values = append(values, fields[fmt.Sprintf("w%d", i)])
	}
	record.Received, _ = receipts(values, number(fields["covered"]), record.Webhooks)
	switch {
	case fields["parked"] != "":
		record.State, record.Since = Parked, moment("parked")
	case moment("lock_until").After(now):
		record.State = Active
	case fields["next"] != "":
		record.State, record.Next = Retrying, moment("next")
	}
	return record
}

// ListParked returns parked contacts of all queues, the longest parked first.
func (c *Contacts) ListParked(ctx context.Context, offset, limit int) ([]Record, error) {
	offset = min(offset, math.MaxInt-limit) // it may come from outside
	type member struct {
		ref   string
		since float64
	}
	var members []member
	for _, q := range c.queues {
		// The ones looked for may all lie in one queue.
		found, err := c.rdb.ZRangeWithScores(ctx, q.parked, 0, int64(offset+limit-1)).Result()
		if err != nil {
			return nil, fmt.Errorf("listing parked contacts: %w", err)
		}
		for _, z := range found {
			ref, _ := z.Member.(string)
			members = append(members, member{ref, z.Score})
		}
	}
	slices.SortStableFunc(members, func(a, b member) int { return cmp.Compare(a.since, b.since) })
	members = members[min(offset, len(members)):min(offset+limit, len(members))]

	refs := make([]contact.Ref, 0, len(members))
	answers := make([]*redis.MapStringStringCmd, 0, len(members))
	pipe := c.rdb.Pipeline()
	for _, m := range members {
		ref, err := contact.ParseRef(m.ref)
		if err != nil {
			return nil, fmt.Errorf("listing parked contacts: the index holds %q: %w", m.ref, err)
		}
		refs, answers = append(refs, ref), append(answers, pipe.HGetAll(ctx, c.queueOf(ref).recordKey(ref)))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("reading parked contacts: %w", err)
	}
	records := make([]Record, 0, len(refs))
	for i, ref := range refs {
		record := recordOf(ref, answers[i].Val(), time.Time{})
		if record.State == Parked { // it may have been woken meanwhile
			records = append(records, record)
		}
	}
	return records, nil
}
