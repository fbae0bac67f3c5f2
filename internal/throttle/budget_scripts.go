package throttle

import (
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// arguments are what both scripts get, then one more.
func (b *Budget) arguments(last any) []any {
	return []any{b.perSecond, b.perSecond * lowest, b.climb.Milliseconds(), last}
}

// sharedRate is the beginning of both scripts: the rate and hold that the hash
// KEYS[1] amounts to now. See [Budget] for the hash and the curve.
//
// ARGV[1] the setting, in calls per second
// ARGV[2] the lowest rate
// ARGV[3] the time of the climb in milliseconds
const sharedRate = `
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local full, lowest, span = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local stored = redis.call("HMGET", KEYS[1], "limit", "climbed", "until", "seen")
local limit, climbed = tonumber(stored[1] or ""), tonumber(stored[2] or "") or 0
local held = math.max(0, (tonumber(stored[3] or "") or 0) - now)
local seen = tonumber(stored[4] or "") or 0
local function rateNow()
	if not limit then return full end
	return math.min(full, math.max(lowest, limit * (0.95 + 0.45 * (climbed / span - 1) ^ 3)))
end
local function answer(rate) return {string.format("%.6f", rate), held, limit and 1 or 0} end
`

// rateScript reads the shared rate.
//
// ARGV[4] 1 if calls are being made: the rate climbs
//
// Returns the rate as text, for how many milliseconds nobody calls, and 1 if
// the rate follows from a 429. What was learned is forgotten when the rate
// arrives at the setting, or after a week without calls.
var rateScript = redis.NewScript(sharedRate + `
if limit and held == 0 and ARGV[4] == "1" then
	-- Looks are a copy's life apart while calls are made; a longer gap was rest.
	climbed = climbed + math.min(math.max(0, now - seen), 1000)
	local rate = rateNow()
	if rate >= full then
		redis.call("DEL", KEYS[1])
		limit = nil
	else
		redis.call("HSET", KEYS[1], "climbed", string.format("%.0f", climbed), "seen", string.format("%.0f", now),
			"rate", string.format("%.6f", rate))
		redis.call("PEXPIRE", KEYS[1], 604800000)
	end
end
return answer(rateNow())
`)

// limitedScript halves the shared rate and holds everyone back. During a hold it
// lengthens the hold only.
//
// ARGV[4] the hold in milliseconds
//
// Returns what rateScript returns.
var limitedScript = redis.NewScript(sharedRate + `
if held == 0 then
	limit = math.max(lowest, rateNow())
	climbed = 0
end
held = math.max(held, tonumber(ARGV[4]))
redis.call("HSET", KEYS[1], "limit", string.format("%.6f", limit or full), "climbed", string.format("%.0f", climbed),
	"until", string.format("%.0f", now + held), "seen", string.format("%.0f", now + held), "rate", string.format("%.6f", rateNow()))
redis.call("PEXPIRE", KEYS[1], 604800000)
return answer(rateNow())
`)

// parseShared reads what the scripts return.
func parseShared(answer []any) (now limits, hold time.Duration, err error) {
	wrong := errors.New("the budget's script answered with something else than a rate and a time")
	if len(answer) != 3 {
		return limits{}, 0, wrong
	}
	text, isText := answer[0].(string)
	milliseconds, isNumber := answer[1].(int64)
	if !isText || !isNumber {
		return limits{}, 0, wrong
	}
	if now.rate, err = strconv.ParseFloat(text, 64); err != nil {
		return limits{}, 0, wrong
	}
	now.learned = answer[2] == int64(1)
	return now, time.Duration(milliseconds) * time.Millisecond, nil
}
