package pending

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"spillway/internal/pending/shard"
)

// Kept returns the contacts of a site over as many queues as Redis holds them in,
// whatever the settings say.
func Kept(ctx context.Context, rdb redis.UniversalClient, site string) (*Contacts, error) {
	queues, err := rdb.Get(ctx, queuesKey(site)).Int()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("reading the number of queues of site %s from Redis: %w", site, err)
	}
	return New(rdb, Options{Site: site, Queues: queues}), nil
}

// KeysOf names all keys of a site; a * at the end of one stands for anything.
func KeysOf(site string) []string { return append(shard.KeysOf(site), queuesKey(site)) }

// Unlist takes a site's queues off asynq's list.
func Unlist(ctx context.Context, rdb redis.UniversalClient, site string) error {
	queues, err := rdb.SMembers(ctx, listKey).Result()
	if err != nil {
		return fmt.Errorf("reading asynq's list of queues: %w", err)
	}
	one, more := shard.Over(site, 1)[0], strings.TrimSuffix(shard.Over(site, 2)[0], "0")
	for _, queue := range queues {
		if queue != one && !strings.HasPrefix(queue, more) {
			continue
		}
		if err := rdb.SRem(ctx, listKey, queue).Err(); err != nil {
			return fmt.Errorf("taking queue %s off asynq's list: %w", queue, err)
		}
	}
	return nil
}

// underWayScript counts the claims of a queue that are held.
//
// KEYS[1] active
// ARGV[1] prefix of the records
var underWayScript = redis.NewScript(clockLua + `
local n = 0
for _, ref in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local until_ms = tonumber(redis.call('HGET', ARGV[1] .. ref, 'lock_until') or '')
  if until_ms and until_ms > now then n = n + 1 end
end
return n
`)

// UnderWay counts the contacts whose claim is held: their passes have begun and not
// ended, nor been killed for longer than [Lock].
func (c *Contacts) UnderWay(ctx context.Context) (n int64, err error) {
	for _, q := range c.queues {
		held, err := underWayScript.Run(ctx, c.rdb, []string{q.active}, q.record).Int64()
		if err != nil {
			return 0, fmt.Errorf("counting the passes under way of queue %s: %w", q.name, err)
		}
		n += held
	}
	return n, nil
}
