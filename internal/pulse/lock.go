package pulse

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// lockLife exceeds what a refresh takes at most: preparing it and the call, 10 s
	// each, the attempts to store, and the last attempt's own timeout.
	lockLife = 40 * time.Second
	// lockTimeout bounds one operation on the lock.
	lockTimeout = 5 * time.Second
)

// lock tries to become the one worker that refreshes. A process that could not
// give the lock back, since Redis was away, gets it again.
func (t *OAuth) lock(ctx context.Context) (unlock func(), locked bool, err error) {
	keys := []string{"spw:lock:" + t.o.Name}
	bounded, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	locked, err = lockScript.Run(bounded, t.o.Redis, keys, t.owner, lockLife.Milliseconds()).Bool()
	if err != nil {
		return nil, false, &Unavailable{Attempt: attemptRefresh, Reason: fmt.Sprintf("Redis does not give the lock: %v", err), Err: ctx.Err()}
	}
	return func() {
		// If this fails, the lock's end does the same.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockTimeout)
		defer cancel()
		_ = unlockScript.Run(ctx, t.o.Redis, keys, t.owner).Err()
	}, locked, nil
}

// lockScript takes the lock, unless another owner has it.
//
// KEYS[1] the lock
// ARGV[1] the owner
// ARGV[2] the lock's life in milliseconds
//
// Returns 1 if ARGV[1] has the lock, else 0.
var lockScript = redis.NewScript(`
local owner = redis.call("GET", KEYS[1])
if owner and owner ~= ARGV[1] then
	return 0
end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return 1
`)

// unlockScript gives the lock back, unless it has passed to another owner.
//
// KEYS[1] the lock
// ARGV[1] the owner
//
// Returns 1 if the lock was given back, else 0.
var unlockScript = redis.NewScript(`
if redis.call("GET", KEYS[1]) == ARGV[1] then
	return redis.call("DEL", KEYS[1])
end
return 0
`)

// lockPoll is how long to wait before another look at the lock and the vault.
func lockPoll() time.Duration {
	const least, spread = 50 * time.Millisecond, 100 * time.Millisecond
	return least + rand.N(spread) //nolint:gosec // it spreads load, it guards nothing
}
