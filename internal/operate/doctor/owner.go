package doctor

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"spillway/internal/redisconn"
)

// sampled is how many keys of a server are looked at. A cache or a shop's
// sessions show themselves in far fewer.
const sampled = 5000

// owner tells whether somebody else uses this Redis. A site's object cache in
// the same database empties it with FLUSHDB, acknowledged webhooks included, and
// fills it until webhooks are refused.
func (e *examination) owner(ctx context.Context) {
	const check = "Redis is ours alone"
	if e.rdb == nil {
		return
	}
	const remedy = "give Spillway a Redis server of its own, as the installation guide does; if that is impossible, a database of its own that nothing else flushes"
	ours, foreign, example, err := census(ctx, e.rdb)
	if err != nil {
		e.skip(check, "SCAN is not permitted there (%v): make sure yourself that nothing else keeps keys in this database", err)
		return
	}
	if foreign > 0 {
		e.warn(check, remedy, "%d of %d keys looked at belong to something else, such as %q", foreign, ours+foreign, example)
		return
	}
	if flushes := flushed(ctx, e.rdb); flushes > 0 {
		e.warn(check, "find out who does it (a cache plugin's button, wp cache flush, a script) and "+remedy,
			"FLUSHDB or FLUSHALL was called %d times since Redis started: in this database it deletes acknowledged webhooks", flushes)
		return
	}
	e.ok(check, "only Spillway's keys among %d looked at, and nobody flushed it", ours)
}

// isOurs tells whether Spillway or its queue library made a key.
func isOurs(key string) bool {
	for _, prefix := range []string{"spw:", "asynq:", "rate:spw:"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// census counts keys by their owner, up to [sampled] for each server. example is
// the beginning of a foreign one, up to its first separator: what follows may
// name a person.
func census(ctx context.Context, client redis.UniversalClient) (ours, foreign int, example string, err error) {
	var mu sync.Mutex
	count := func(ctx context.Context, node redis.Cmdable) error {
		keys := node.Scan(ctx, 0, "*", 1000).Iterator()
		for n := 0; n < sampled && keys.Next(ctx); n++ {
			mu.Lock()
			if key := keys.Val(); isOurs(key) {
				ours++
			} else {
				foreign++
				example = beginning(key)
			}
			mu.Unlock()
		}
		return keys.Err()
	}
	err = redisconn.EachMaster(ctx, client, count)
	return ours, foreign, example, err
}

func beginning(key string) string {
	const most = 16
	end := strings.IndexAny(key, ":._-/") + 1
	if end == 0 || end > most {
		end = min(len(key), 3)
	}
	return strings.ToValidUTF8(key[:end], "") + "…"
}

// flushed returns how often databases were emptied since the servers started;
// zero where that cannot be told.
func flushed(ctx context.Context, client redis.UniversalClient) (calls int) {
	var mu sync.Mutex
	_ = redisconn.EachMaster(ctx, client, func(ctx context.Context, node redis.Cmdable) error {
		stats, err := redisconn.ReadInfo(ctx, node, "commandstats")
		for _, command := range []string{"flushdb", "flushall"} {
			var n int
			if _, err := fmt.Sscanf(stats["cmdstat_"+command], "calls=%d", &n); err == nil {
				mu.Lock()
				calls += n
				mu.Unlock()
			}
		}
		return err
	})
	return calls
}
