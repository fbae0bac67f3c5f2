package roster

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Downtime is a time in which no ingest server could take webhooks.
type Downtime struct{ From, To time.Time }

const (
	downtimeKey = "spw:ingest:down"
	// downAfter is how long nobody must have been seen before that counts.
	downAfter = time.Minute
)

// seenScript notes that ingest is there, by the clock of Redis, and since when
// it had not been.
//
// KEYS[1] hash: "seen", when ingest was there last, "from" and "to" of the last
// downtime, all in ms
// ARGV[1] how long a downtime is at least, in ms
var seenScript = redis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local seen = tonumber(redis.call('HGET', KEYS[1], 'seen') or now)
if now - seen >= tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'from', string.format('%.0f', seen), 'to', string.format('%.0f', now))
end
redis.call('HSET', KEYS[1], 'seen', string.format('%.0f', now))
return 1
`)

// there notes that an ingest server is there.
func (r *Roster) there(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := seenScript.Run(ctx, r.rdb, []string{downtimeKey}, downAfter.Milliseconds()).Err(); err != nil {
		return fmt.Errorf("noting that ingest is there: %w", err)
	}
	return nil
}

// LastDowntime returns the last time of a minute or more in which no ingest
// server was there, or none could reach Redis; ok is false if none is known.
func (r *Roster) LastDowntime(ctx context.Context) (down Downtime, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	fields, err := r.rdb.HMGet(ctx, downtimeKey, "from", "to").Result()
	if err != nil {
		return Downtime{}, false, fmt.Errorf("reading when ingest was down: %w", err)
	}
	from, okFrom := moment(fields[0])
	to, okTo := moment(fields[1])
	return Downtime{from, to}, okFrom && okTo, nil
}

func moment(field any) (time.Time, bool) {
	text, _ := field.(string)
	ms, err := strconv.ParseInt(text, 10, 64)
	return time.UnixMilli(ms).UTC(), err == nil
}
