package pending

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

// absenceLife is how long Spillway remembers that the CRM has no such contact.
// It asks for the contact again long before, unless no worker runs.
const absenceLife = 24 * time.Hour

// absentScript notes by the clock of Redis when a contact was first missed.
//
// KEYS[1] when the contact was first missed, in ms
// ARGV[1] ms for which that is remembered
//
// Returns how many ms ago that was.
var absentScript = redis.NewScript(clockLua + `
redis.call('SET', KEYS[1], now, 'PX', ARGV[1], 'NX')
return now - redis.call('GET', KEYS[1])
`)

func (q *queue) absence(ref contact.Ref) string { return q.absent + ref.String() }

// Absent notes that the CRM has no such contact, and returns how long ago it
// first said so. After a day without such an answer the time begins anew.
func (c *Contacts) Absent(ctx context.Context, ref contact.Ref) (time.Duration, error) {
	ago, err := absentScript.Run(ctx, c.rdb, []string{c.queueOf(ref).absence(ref)}, absenceLife.Milliseconds()).Int64()
	if err != nil {
		return 0, fmt.Errorf("noting that contact %s is missing in the CRM: %w", ref, err)
	}
	return time.Duration(ago) * time.Millisecond, nil
}

// Present forgets that the CRM had no such contact.
func (c *Contacts) Present(ctx context.Context, ref contact.Ref) error {
	if err := c.rdb.Del(ctx, c.queueOf(ref).absence(ref)).Err(); err != nil {
		return fmt.Errorf("noting that the CRM has contact %s: %w", ref, err)
	}
	return nil
}
