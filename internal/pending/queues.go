package pending

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
	"spillway/internal/pending/shard"
)

// queuesKey holds the number of queues of a site. In a cluster it may lie on
// any node; each queue has a copy beside its contacts, and every webhook is
// checked against that.
func queuesKey(site string) string {
	if site == contact.DefaultSite {
		return "spw:queues"
	}
	return "spw:queues:" + site
}

// retireScript gives a queue another number of queues if it is empty.
//
// KEYS[1] due  KEYS[2] parked  KEYS[3] number of queues
// ARGV[1] the new number
//
// Returns how many contacts are in the queue; if there are none the number has
// been changed, and processes with the old one can add none.
var retireScript = redis.NewScript(`
local n = redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[2])
if n == 0 then redis.call('SET', KEYS[3], ARGV[1]) end
return n
`)

// Adopt makes sure that this process spreads contacts over as many queues as
// the contacts in Redis are spread over. The first start decides; a later one
// may change the number only while there are no contacts, and gets an
// [*OtherQueues] otherwise, also while a change to another number is not
// finished. A program that runs on with the old number is refused by every
// Submit from then on, so no webhook goes where no worker looks.
func (c *Contacts) Adopt(ctx context.Context) error {
	asked, queuesKey := strconv.Itoa(len(c.queues)), queuesKey(c.site)
	if err := c.rdb.SetNX(ctx, queuesKey, asked, 0).Err(); err != nil {
		return fmt.Errorf("reading the number of queues from Redis: %w", err)
	}
	kept, err := c.rdb.Get(ctx, queuesKey).Result()
	if err != nil {
		return fmt.Errorf("reading the number of queues from Redis: %w", err)
	}
	if kept == asked {
		return c.unfinished(ctx, asked)
	}
	n, err := strconv.Atoi(kept)
	if err != nil {
		return fmt.Errorf("the key %s in Redis holds %q, not a number of queues: delete it if nothing is pending", queuesKey, kept)
	}
	old := make([]*queue, 0, n)
	for _, name := range shard.Over(c.site, n) {
		old = append(old, newQueue(name))
	}
	contacts, err := c.countAll(ctx, old)
	if err != nil {
		return err
	}
	if contacts > 0 {
		return &OtherQueues{Site: c.site, Kept: kept, Asked: asked, Contacts: contacts}
	}
	return c.moveOver(ctx, old, kept, asked)
}

// unfinished finds a change to another number that was cut off: each queue that
// was closed for it refuses every webhook.
func (c *Contacts) unfinished(ctx context.Context, asked string) error {
	for _, q := range c.queues {
		fixed, err := c.rdb.Get(ctx, q.fixed).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("reading the number of queues of queue %s: %w", q.name, err)
		}
		if err == nil && fixed != asked {
			return &OtherQueues{Site: c.site, Kept: fixed, Asked: asked, Unfinished: true}
		}
	}
	return nil
}

func (c *Contacts) countAll(ctx context.Context, queues []*queue) (contacts int64, err error) {
	for _, q := range queues {
		due, errDue := c.rdb.ZCard(ctx, q.due).Result()
		parked, errParked := c.rdb.ZCard(ctx, q.parked).Result()
		if err := errors.Join(errDue, errParked); err != nil {
			return 0, fmt.Errorf("counting the contacts of queue %s: %w", q.name, err)
		}
		contacts += due + parked
	}
	return contacts, nil
}

// moveOver closes the old queues, one after the other, and opens the new ones.
// A webhook that slips into an old queue meanwhile undoes it.
func (c *Contacts) moveOver(ctx context.Context, old []*queue, kept, asked string) error {
	for i, q := range old {
		contacts, err := retireScript.Run(ctx, c.rdb, []string{q.due, q.parked, q.fixed}, asked).Int64()
		if err == nil && contacts > 0 {
			err = &OtherQueues{Site: c.site, Kept: kept, Asked: asked, Contacts: contacts}
		}
		if err != nil {
			for _, closed := range old[:i] {
				err = errors.Join(err, c.rdb.Set(ctx, closed.fixed, kept, 0).Err())
			}
			return fmt.Errorf("closing queue %s: %w", q.name, err)
		}
	}
	for _, q := range c.queues {
		if err := c.rdb.Set(ctx, q.fixed, asked, 0).Err(); err != nil {
			return fmt.Errorf("opening queue %s: %w", q.name, err)
		}
	}
	if err := c.rdb.Set(ctx, queuesKey(c.site), asked, 0).Err(); err != nil {
		return fmt.Errorf("writing the number of queues to Redis: %w", err)
	}
	return nil
}
