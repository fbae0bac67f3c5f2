package history

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/redisconn"
)

// Shares of Redis's memory. Between them a burst has room while timelines are
// being dropped.
const (
	// rememberBelow is where nothing is added to timelines any more.
	rememberBelow = 0.65
	// dropAbove is where timelines are dropped, those that have been idle longest
	// first, until the share is below rememberBelow.
	dropAbove = 0.70
	// refuseAbove is where ingest refuses webhooks: what is left is what passes
	// need to make room. A Redis that is quite full takes no wake-up from its
	// queue, so it would never drain.
	refuseAbove = 0.96
	// watchAbove is where Redis is looked at more often.
	watchAbove = 0.85
)

const (
	restingLook = time.Second
	hurriedLook = 25 * time.Millisecond
	// keeperTimeout bounds a look. Dropping takes as long as it takes, a step
	// after the other.
	keeperTimeout = 5 * time.Second
	keeperLease   = 30 * time.Second
	keeperKey     = "spw:history:keeper"
)

// Keeper watches how full Redis is. It keeps timelines from taking the memory
// that webhooks need, and tells ingest when to refuse them. Each process runs
// one; they drop timelines one at a time.
type Keeper struct {
	rdb   redis.UniversalClient
	share atomic.Int64 // of memory, in 1/10000; of the fullest master
}

// NewKeeper returns a keeper that has not looked yet: there is room.
func NewKeeper(rdb redis.UniversalClient) *Keeper { return &Keeper{rdb: rdb} }

// Remembers tells whether events are added to timelines.
func (k *Keeper) Remembers() bool { return k.full() < rememberBelow }

// Refuses tells whether webhooks must be refused.
func (k *Keeper) Refuses() bool { return k.full() >= refuseAbove }

func (k *Keeper) full() float64 { return float64(k.share.Load()) / 10000 }

// Run watches until ctx ends. report gets the errors; they do not end it. While
// Redis is away or does not tell, what was seen last holds.
func (k *Keeper) Run(ctx context.Context, report func(error)) {
	for ctx.Err() == nil {
		if err := k.round(ctx); err != nil && ctx.Err() == nil {
			report(err)
		}
		pause := restingLook
		if k.full() > watchAbove {
			pause = hurriedLook
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (k *Keeper) round(ctx context.Context) error {
	share, err := k.look(ctx)
	var refused redis.Error
	if errors.As(err, &refused) {
		return nil // INFO is not permitted: there is nothing to go by
	}
	if err != nil {
		return fmt.Errorf("reading how full Redis is: %w", err)
	}
	k.note(ctx, share)
	if share < dropAbove {
		return nil
	}
	// Full memory takes no lease either. To drop timelines twice does no harm.
	token := rand.Text()
	err = k.rdb.SetArgs(ctx, keeperKey, token, redis.SetArgs{Mode: "NX", TTL: keeperLease}).Err()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keeperTimeout)
		defer cancel()
		_ = releaseScript.Run(ctx, k.rdb, []string{keeperKey}, token).Err()
	}()
	err = redisconn.EachMaster(ctx, k.rdb, dropTimelines)
	if err != nil {
		return fmt.Errorf("dropping old timelines from a Redis that fills up: %w", err)
	}
	_, err = k.look(ctx)
	return err
}

// releaseScript ends the lease, unless it has passed to another.
//
// KEYS[1] the lease  ARGV[1] the holder
var releaseScript = redis.NewScript(`
if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end
return 0
`)

// look reads the share of the fullest master.
func (k *Keeper) look(ctx context.Context) (share float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, keeperTimeout)
	defer cancel()
	var mu sync.Mutex
	err = redisconn.EachMaster(ctx, k.rdb, func(ctx context.Context, node redis.Cmdable) error {
		one, err := shareOf(ctx, node)
		mu.Lock()
		defer mu.Unlock()
		share = max(share, one)
		return err
	})
	if err == nil {
		k.share.Store(int64(share * 10000))
	}
	return share, err
}

func shareOf(ctx context.Context, node redis.Cmdable) (float64, error) {
	info, err := redisconn.ReadInfo(ctx, node, "memory")
	if err != nil {
		return 0, err
	}
	used, limit := info.Memory()
	if limit == 0 {
		return 0, nil
	}
	return used / limit, nil
}

const (
	// scanned is how many keys one step of a walk looks at.
	scanned = 1000
	// sampled is how many timelines decide which of them are old.
	sampled = 2000
)

// dropTimelines drops the timelines of a server that have been idle longest
// until there is room, or none is left. A timeline's time to live tells when it
// was last added to, so no index is needed.
func dropTimelines(ctx context.Context, node redis.Cmdable) error {
	for {
		share, err := shareOf(ctx, node)
		if err != nil || share < rememberBelow {
			return err
		}
		var lives []time.Duration
		err = eachTimeline(ctx, node, func(_ []string, found []time.Duration) (bool, error) {
			lives = append(lives, found...)
			return len(lives) < sampled, nil
		})
		if err != nil || len(lives) == 0 {
			return err
		}
		slices.Sort(lives)
		oldest := lives[len(lives)/4]
		err = eachTimeline(ctx, node, func(keys []string, found []time.Duration) (bool, error) {
			pipe := node.Pipeline()
			for i, key := range keys {
				if found[i] <= oldest {
					pipe.Unlink(ctx, key)
				}
			}
			if pipe.Len() == 0 {
				return true, nil
			}
			if _, err := pipe.Exec(ctx); err != nil {
				return false, err
			}
			share, err := shareOf(ctx, node)
			return share >= rememberBelow, err
		})
		if err != nil {
			return err
		}
	}
}

// eachTimeline walks over the timelines of a server with their times to live,
// until each says that it is enough.
func eachTimeline(ctx context.Context, node redis.Cmdable, each func(keys []string, lives []time.Duration) (more bool, err error)) error {
	for cursor := uint64(0); ; {
		keys, next, err := node.Scan(ctx, cursor, "spw:{*}:h:*", scanned).Result()
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			pipe := node.Pipeline()
			asked := make([]*redis.DurationCmd, len(keys))
			for i, key := range keys {
				asked[i] = pipe.PTTL(ctx, key)
			}
			if _, err := pipe.Exec(ctx); err != nil {
				return err
			}
			lives := make([]time.Duration, len(keys))
			for i := range asked {
				lives[i] = asked[i].Val()
			}
			if more, err := each(keys, lives); err != nil || !more {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}
