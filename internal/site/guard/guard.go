// Package guard decides how hard a site is pressed, from what its answers and a
// page of it take; the same over all replicas, through Redis. [Guard] has the
// rules, [Prober] measures the page.
package guard

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

// Key is where the pressure of a site stands in Redis.
func Key(site string) string {
	if site == contact.DefaultSite {
		return "spw:{site}:guard"
	}
	return "spw:{site." + site + "}:guard"
}

// redisTimeout bounds one question to Redis, go-redis's repetitions included.
const redisTimeout = 5 * time.Second

// Guard decides how hard the site is pressed: how many contacts the next
// request holds, and how long a slot rests after a request. All replicas go by
// the same values; slots bound how many requests are under way.
//
// # The rules
//
// Batch: what fits into 2 seconds. It starts with 16, doubles while full
// requests take less than half of that, and follows the time of each full or
// slow request.
//
// Pause: the slot of a request that took t rests for t * (1/share - 1), 5 s at
// most, so that requests take only their share of the time. It is 0.45 at the
// beginning of a burst: a page that meets no request takes what it always does.
// One or two contacts in a request count as no burst, so nobody waits behind
// them. Then the share follows what is measured:
//
//   - With a page to watch, what it takes is measured every second while a
//     burst drains, and compared with its base: the median of the last 15
//     measurements during which no request was under way. When the median of
//     the last few exceeds the base by 15 %, the share falls by a quarter; by
//     50 %, by half; down to a tenth. Below 8 % it doubles, up to 0.45,
//     and rises beyond that by a quarter while none of the last few exceeds the
//     base by 15 %.
//   - Without one, what a request takes before the connector begins its work is
//     measured: PHP and WordPress start for it as they do for any page. Its base
//     is the best of the last five minutes, and half as much again is slower;
//     the share falls to a quarter at most.
//   - A request that meets 429, 502, 503, 504, no connection or no answer in
//     time halves the share and the batch at once.
//
// An old base is replaced within minutes, so a site that has become slower for
// good is pressed as before in the end. Retry-After and outages are the
// breaker's affair.
//
// Without Redis each replica goes by its own measurements.
type Guard struct {
	rdb  redis.UniversalClient
	key  string
	most int
	me   string // names this process among the replicas

	flying atomic.Int64 // requests of this process that are under way

	mu     sync.Mutex
	copied pressure
}

// New returns the guard of a site: requests hold most contacts at most.
func New(rdb redis.UniversalClient, site string, most int) (*Guard, error) {
	if most < 1 {
		return nil, fmt.Errorf("a batch of %d contacts: use 1 or more", most)
	}
	return &Guard{rdb: rdb, key: Key(site), most: most, me: rand.Text()[:10], copied: newPressure(most)}, nil
}

// Batch returns how many contacts the next request may hold.
func (g *Guard) Batch() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return min(max(int(g.copied.Batch), 1), g.most)
}

// Sending reports that a request leaves. Each is followed by one of Answered,
// Refused and Unsent.
func (g *Guard) Sending(ctx context.Context) {
	g.flying.Add(1)
	g.change(ctx, func(p *pressure) { p.sending(time.Now()) })
}

// Unsent reports that a request did not leave, or was given up by us.
func (g *Guard) Unsent(ctx context.Context) {
	g.flying.Add(-1)
	g.change(ctx, func(*pressure) {})
}

// Answered reports a request that the site answered: with how many contacts,
// after what time, and how much of that the connector worked (zero: it does not
// say). It returns how long the slot is to rest.
func (g *Guard) Answered(ctx context.Context, contacts int, took, worked time.Duration) (pause time.Duration) {
	g.flying.Add(-1)
	g.change(ctx, func(p *pressure) {
		p.answered(time.Now(), g.most, contacts, took, worked)
		pause = p.pause(contacts, took)
	})
	return pause
}

// Refused reports a request that met a busy site, no connection or no answer in
// time. It returns how long the slot is to rest.
func (g *Guard) Refused(ctx context.Context, took time.Duration) (pause time.Duration) {
	g.flying.Add(-1)
	g.change(ctx, func(p *pressure) {
		p.refused(time.Now())
		pause = p.pause(g.most, max(took, leastRest))
	})
	return pause
}

// leastRest is how long a refused request counts at least: a site that refuses
// at once would otherwise be asked again at once.
const leastRest = 200 * time.Millisecond

// guardLife is how long the pressure is kept after the last change.
const guardLife = 6 * time.Hour

// change changes the shared pressure, which also learns of this process's
// requests under way. Without Redis it changes the copy.
func (g *Guard) change(ctx context.Context, change func(p *pressure)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTimeout)
	defer cancel()
	var next pressure
	// A change that meets another one is made again on what that left.
	const tries = 5
	var err error
	for range tries {
		err = g.rdb.Watch(ctx, func(tx *redis.Tx) error {
			var err error
			if next, err = g.read(ctx, tx); err != nil {
				return err
			}
			change(&next)
			next.fly(time.Now(), g.me, int(g.flying.Load()))
			encoded, err := json.Marshal(next)
			if err != nil {
				return err
			}
			_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
				pipe.Set(ctx, g.key, encoded, guardLife)
				return nil
			})
			return err
		}, g.key)
		if !errors.Is(err, redis.TxFailedErr) {
			break
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		next = g.copied
		change(&next)
		next.fly(time.Now(), g.me, int(g.flying.Load()))
	}
	g.copied = next
}

// read returns the shared pressure; strange content counts as none.
func (g *Guard) read(ctx context.Context, from redis.Cmdable) (pressure, error) {
	encoded, err := from.Get(ctx, g.key).Bytes()
	if err != nil && !errors.Is(err, redis.Nil) {
		return pressure{}, err
	}
	p, ok := parsePressure(encoded)
	if !ok {
		p = newPressure(g.most)
	}
	return p, nil
}

func parsePressure(encoded []byte) (p pressure, ok bool) {
	if json.Unmarshal(encoded, &p) != nil || p.Share <= 0 || p.Share > 1 || p.Batch < 1 {
		return pressure{}, false
	}
	return p, true
}

// Facts are what operators see of a pressure as it stands in Redis; none if it
// cannot be read.
func Facts(encoded string) map[string]float64 {
	p, ok := parsePressure([]byte(encoded))
	if !ok {
		return nil
	}
	return p.facts(time.Now())
}

// facts are what operators see of the pressure.
func (p *pressure) facts(now time.Time) map[string]float64 {
	facts := map[string]float64{"batch": float64(int(p.Batch)), "latency_ms": p.Latency, "share": p.Share, "pace_ms": p.Pace}
	if p.resting(now) {
		facts["pace_ms"] = 0
	}
	if p.Page.Base > 0 {
		facts["probe_baseline_ms"] = p.Page.Base
		if len(p.Page.Recent) > 0 {
			facts["probe_ms"] = p.Page.median()
		}
	}
	return facts
}
