package throttle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// creationWindow is the time over which creations are counted.
	creationWindow = time.Hour
	// openLife is how long a creation whose end is not known is remembered: as long
	// as its password.
	openLife = 14 * 24 * time.Hour
	// heldLife is how long contacts that were held back are listed.
	heldLife = 30 * 24 * time.Hour
)

// Creations limit how many users are created on a site within an hour, over all
// replicas.
//
// A pass reserves a place before it asks the site, so the limit is never exceeded,
// and gives the place back if the site had the user already. A creation counts
// once, however often its pass is repeated: its contact stays open until the pass
// has ended.
//
// In Redis stand, by contact: "made", a sorted set of the creations of the last
// hour by their time; "open", a sorted set of what has begun and not ended, by
// its time in milliseconds, which is negative once the user is created or needs
// no place; "held", the contacts that were refused; "allowed", those of them
// that a person lets pass. Times are Redis's.
type Creations struct {
	rdb   redis.UniversalClient
	keys  []string
	limit int
}

// NewCreations returns the creations of a site, at most limit within an hour; 0:
// as many as there are.
func NewCreations(rdb redis.UniversalClient, site string, limit int) *Creations {
	prefix := "spw:{" + of(Site, named(site)) + "}:creations:"
	return &Creations{rdb: rdb, limit: limit, keys: []string{prefix + "made", prefix + "open", prefix + "held", prefix + "allowed"}}
}

// What reserveScript answers.
const (
	granted = 1
	crowded = 2 // places are reserved whose outcome is not known yet
)

// crowdedFor is how long that may take.
const crowdedFor = 2 * time.Second

// reserveScript decides whether a contact's user may be created.
//
// KEYS made, open, held, allowed
// ARGV[1] the contact, ARGV[2] the limit, ARGV[3] the window and ARGV[4] the life
// of what is open, in milliseconds
//
// It returns 1 for yes, 2 when places are reserved whose outcome is not known
// yet, 3 when as many users were created as the limit allows.
var reserveScript = redis.NewScript(`
local t = redis.call("TIME")
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", now - ARGV[3])
redis.call("ZREMRANGEBYSCORE", KEYS[2], 1, now - ARGV[3])
redis.call("ZREMRANGEBYSCORE", KEYS[2], -(now - ARGV[4]), -1)
if redis.call("ZSCORE", KEYS[2], ARGV[1]) then return 1 end
if redis.call("SREM", KEYS[4], ARGV[1]) == 1 then
	redis.call("ZADD", KEYS[2], -now, ARGV[1])
	redis.call("SREM", KEYS[3], ARGV[1])
	return 1
end
local made = redis.call("ZCARD", KEYS[1])
if made >= tonumber(ARGV[2]) then return 3 end
if made + redis.call("ZCOUNT", KEYS[2], 1, "+inf") >= tonumber(ARGV[2]) then return 2 end
redis.call("ZADD", KEYS[2], now, ARGV[1])
redis.call("SREM", KEYS[3], ARGV[1])
return 1
`)

// madeScript counts a creation.
//
// KEYS made, open, held, allowed
// ARGV[1] the contact, ARGV[2] "1" if its pass goes on until a confirmation
var madeScript = redis.NewScript(`
local t = redis.call("TIME")
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local begun = tonumber(redis.call("ZSCORE", KEYS[2], ARGV[1]) or "1")
if begun > 0 then redis.call("ZADD", KEYS[1], now, ARGV[1]) end
if ARGV[2] == "1" then redis.call("ZADD", KEYS[2], -now, ARGV[1]) else redis.call("ZREM", KEYS[2], ARGV[1]) end
return 1
`)

// Reserve asks for a place before the site may create the contact's user. It
// says no when as many users were created within the hour as the limit allows.
// The error is an [*Unavailable]: Redis is away, or the last places are
// reserved by creations whose outcome is not known yet.
func (c *Creations) Reserve(ctx context.Context, contactID string) (bool, error) {
	if c.limit == 0 {
		return true, nil
	}
	const attempt = "reserving the creation of a user"
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	answer, err := reserveScript.Run(ctx, c.rdb, c.keys, contactID, c.limit, creationWindow.Milliseconds(), openLife.Milliseconds()).Int()
	switch {
	case err != nil:
		return false, &Unavailable{Attempt: attempt, Err: err}
	case answer == crowded:
		return false, &Unavailable{Attempt: attempt, RetryAfter: crowdedFor, Err: errors.New("the places that SPILLWAY_CREATION_LIMIT leaves are taken by creations under way")}
	}
	return answer == granted, nil
}

// Made says that the user was created. With confirmed to come the contact stays
// open until [Creations.Ended].
func (c *Creations) Made(ctx context.Context, contactID string, confirmed bool) error {
	if c.limit == 0 {
		return nil
	}
	goesOn := "0"
	if confirmed {
		goesOn = "1"
	}
	return c.do(ctx, "counting the creation of a user", func(ctx context.Context) error {
		return madeScript.Run(ctx, c.rdb, c.keys, contactID, goesOn).Err()
	})
}

// Ended says that the contact's pass has ended, or that it created nobody: a
// place that was reserved and not used is given back.
func (c *Creations) Ended(ctx context.Context, contactID string) error {
	if c.limit == 0 {
		return nil
	}
	return c.do(ctx, "giving back the creation of a user", func(ctx context.Context) error {
		return c.rdb.ZRem(ctx, c.keys[1], contactID).Err()
	})
}

// Hold lists a contact that was held back.
func (c *Creations) Hold(ctx context.Context, contactID string) error {
	return c.do(ctx, "listing a user who was held back", func(ctx context.Context) error {
		_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.SAdd(ctx, c.keys[2], contactID)
			p.Expire(ctx, c.keys[2], heldLife)
			return nil
		})
		return err
	})
}

// Allow lets a contact pass that was held back, whatever the limit.
func (c *Creations) Allow(ctx context.Context, contactID string) error {
	return c.do(ctx, "allowing the creation of a user", func(ctx context.Context) error {
		_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.SAdd(ctx, c.keys[3], contactID)
			p.Expire(ctx, c.keys[3], heldLife)
			p.SRem(ctx, c.keys[2], contactID)
			return nil
		})
		return err
	})
}

// Forget takes a contact from the list of those that were held back.
func (c *Creations) Forget(ctx context.Context, contactID string) error {
	return c.do(ctx, "forgetting a user who was held back", func(ctx context.Context) error {
		_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.SRem(ctx, c.keys[2], contactID)
			p.SRem(ctx, c.keys[3], contactID)
			return nil
		})
		return err
	})
}

// CreationCounts is how the limit stands.
type CreationCounts struct {
	Limit int   `json:"limit"` // 0: none
	Made  int64 `json:"created_last_hour"`
	Held  int64 `json:"held"` // contacts that were held back
}

// Counts reads how the limit stands.
func (c *Creations) Counts(ctx context.Context) (CreationCounts, error) {
	counts := CreationCounts{Limit: c.limit}
	err := c.do(ctx, "reading the creations of users", func(ctx context.Context) error {
		now, err := c.rdb.Time(ctx).Result()
		if err != nil {
			return err
		}
		since := fmt.Sprint(now.Add(-creationWindow).UnixMilli())
		if counts.Made, err = c.rdb.ZCount(ctx, c.keys[0], "("+since, "+inf").Result(); err != nil {
			return err
		}
		counts.Held, err = c.rdb.SCard(ctx, c.keys[2]).Result()
		return err
	})
	return counts, err
}

// Held lists the contacts that were held back, most of them at most.
func (c *Creations) Held(ctx context.Context, most int64) (ids []string, err error) {
	err = c.do(ctx, "listing users who were held back", func(ctx context.Context) error {
		ids, err = c.rdb.SRandMemberN(ctx, c.keys[2], most).Result()
		return err
	})
	return ids, err
}

func (c *Creations) do(ctx context.Context, attempt string, act func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	if err := act(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return &Unavailable{Attempt: attempt, Err: err}
	}
	return nil
}
