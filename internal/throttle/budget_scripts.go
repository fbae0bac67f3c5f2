package throttle

import (
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// sharedRate is the beginning of both scripts: the rate and hold that the hash
// KEYS[1] amounts to now. The climb is computed from the time that has passed,
// so that nobody needs to write it.
const sharedRate = `
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local full, climb = tonumber(ARGV[1]), tonumber(ARGV[2])
local stored = redis.call("HMGET", KEYS[1], "rate", "from")
local rate, from = tonumber(stored[1] or ""), tonumber(stored[2] or "")
local held = 0
if rate and from then
	held = math.max(0, from - now)
	rate = math.min(full, rate + climb * math.max(0, now - from) / 1000)
else
	rate = full
end
`

// rateScript reads the shared rate.
//
// KEYS[1] the budget's hash
// ARGV[1] the full rate, in calls per second
// ARGV[2] the climb, in calls per second per second
//
// Returns the rate as text, and for how many milliseconds nobody calls.
var rateScript = redis.NewScript(sharedRate + `
return {string.format("%.6f", rate), held}
`)

// limitedScript halves the shared rate and holds everyone back. During a hold it
// lengthens the hold only.
//
// KEYS[1] the budget's hash
// ARGV[1] the full rate, in calls per second
// ARGV[2] the climb, in calls per second per second
// ARGV[3] the lowest rate
// ARGV[4] the hold in milliseconds
//
// Returns what rateScript returns. The hash goes when the climb is over.
var limitedScript = redis.NewScript(sharedRate + `
if held == 0 then
	rate = math.max(tonumber(ARGV[3]), rate / 2)
end
held = math.max(held, tonumber(ARGV[4]))
redis.call("HSET", KEYS[1], "rate", string.format("%.6f", rate), "from", string.format("%.0f", now + held))
redis.call("PEXPIRE", KEYS[1], math.ceil(held + (full - rate) / climb * 1000) + 1000)
return {string.format("%.6f", rate), held}
`)

// parseShared reads what the scripts return.
func parseShared(answer []any) (rate float64, hold time.Duration, err error) {
	wrong := errors.New("the budget's script answered with something else than a rate and a time")
	if len(answer) != 2 {
		return 0, 0, wrong
	}
	text, isText := answer[0].(string)
	milliseconds, isNumber := answer[1].(int64)
	if !isText || !isNumber {
		return 0, 0, wrong
	}
	if rate, err = strconv.ParseFloat(text, 64); err != nil {
		return 0, 0, wrong
	}
	return rate, time.Duration(milliseconds) * time.Millisecond, nil
}
