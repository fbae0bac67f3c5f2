package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// sealOnce stores an entry unless there is one, and keeps what is there alive.
//
// KEYS[1] the entry
// ARGV[1] the sealed entry to store
// ARGV[2] its life in milliseconds, 0 for no end
// ARGV[3] an entry to be replaced, since it does not open; empty for none
//
// Returns the entry that is there, or nil if ARGV[1] was stored.
var sealOnce = redis.NewScript(`
local ttl = tonumber(ARGV[2])
local entry = redis.call("GET", KEYS[1])
if entry and entry ~= ARGV[3] then
	if ttl > 0 then
		redis.call("PEXPIRE", KEYS[1], ttl)
	else
		redis.call("PERSIST", KEYS[1])
	end
	return entry
end
if ttl > 0 then
	redis.call("SET", KEYS[1], ARGV[1], "PX", ttl)
else
	redis.call("SET", KEYS[1], ARGV[1])
end
return false
`)

// maxReplacements bounds how often SealOnce replaces unreadable entries that
// others keep writing: two processes with different secret keys.
const maxReplacements = 5

// SealOnce stores plain under name, unless there is an entry that opens: then
// it returns that one's content and renews its ttl. All callers, at the same
// time or later, get the same bytes, until the entry is deleted or expires. An
// entry that does not open is replaced.
func (v *Vault) SealOnce(ctx context.Context, name string, plain []byte, ttl time.Duration) (stored []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	sealed := v.seal(name, plain)
	unreadable := []byte{}
	for range maxReplacements {
		text, err := sealOnce.Run(ctx, v.rdb, []string{v.prefix + name}, sealed, milliseconds(ttl), unreadable).Text()
		switch {
		case errors.Is(err, redis.Nil):
			return plain, nil
		case err != nil:
			return nil, &Unavailable{Attempt: "sealing " + name, Err: err}
		}
		entry := []byte(text)
		if bytes.Equal(entry, sealed) {
			// go-redis repeated a call whose answer was lost.
			return plain, nil
		}
		if content, ok := v.open(name, entry); ok {
			return content, nil
		}
		unreadable = entry
	}
	return nil, fmt.Errorf("sealing %s: another process keeps replacing it: %w", name, ErrUnreadable)
}

// milliseconds rounds up, so that a short life does not become an endless one.
func milliseconds(ttl time.Duration) int64 {
	if ttl <= 0 {
		return 0
	}
	return max(ttl.Milliseconds(), 1)
}
