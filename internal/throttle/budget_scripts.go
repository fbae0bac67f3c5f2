package throttle

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// shared is what the budget's scripts say of what all replicas keep to.
type shared struct {
	rate   float64       // calls per second
	hold   time.Duration // how long all calls are held back
	voided int64         // how often a 429 made the turns void that were given before
}

// turn is what they say to a call.
type turn struct {
	shared

	granted bool
	wait    time.Duration // until the turn, or until it is worth asking again
}

// sharedRate is the beginning of each of the budget's scripts.
//
// KEYS[1] the budget's hash. While the rate is not at its setting: "limit", the
// rate that met the last 429; "drop", the part of it that was given up then;
// "climbed", the milliseconds since then in which calls were made; "seen", when calls were made last; "rate", the rate then.
// "until", the time until which nobody calls; "voided", how many holds there
// were; "line", when the line of calls has passed; "turn", the last turn given;
// "began", as line for what begins; "now", when the budget was last changed. Times
// are milliseconds of Redis's clock. If that goes back, as with a replica that
// takes over, they go back with it: else nobody would call until it has caught up.
//
// ARGV[1] the setting, in calls per second
// ARGV[2] the lowest rate
// ARGV[3] the time of the climb in milliseconds; below two calls a second it takes
// as long as 40 calls, and at most twice that time
// ARGV[4] the burst. A rate that follows from a 429 has none: the system that
// limits calls may tolerate fewer at once than Spillway's setting
//
// The line is kept as GCRA does: each call moves it by the time of one, and a
// call's turn is the line's end less the burst. turnAt(n) is the turn of a call
// that comes now, before n more.
//
// Every script returns the rate as text, how many milliseconds all calls are
// held back, how many holds there were, 1 if what was asked is granted, and the
// milliseconds until the turn, or until it is worth asking again.
const sharedRate = `
local time = redis.call("TIME")
local now = time[1] * 1000 + time[2] / 1000
local full, lowest, span, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local stored = redis.call("HMGET", KEYS[1], "limit", "climbed", "until", "seen", "line", "began", "voided", "drop", "now")
local function num(i) return tonumber(stored[i] or "") or 0 end
local function text(n) return string.format("%.3f", n) end
local back = num(9) - now
if back > 1000 then
	for i, name in pairs({[3] = "until", [4] = "seen", [5] = "line", [6] = "began", [9] = "now"}) do
		if stored[i] then
			stored[i] = text(num(i) - back)
			redis.call("HSET", KEYS[1], name, stored[i])
		end
	end
end
local limit, climbed = tonumber(stored[1] or ""), num(2)
local held = math.max(0, num(3) - now)
if limit then
	burst = 1
	-- A few calls a second tell less of the limit than many do.
	span = math.max(span, math.min(2 * span, 40000 / limit))
end
local drop = tonumber(stored[8] or "") or 0.5
local function rateNow()
	if not limit then return full end
	return math.min(full, math.max(lowest, limit * (0.97 + (drop - 0.03) * (climbed / span - 1) ^ 3)))
end
local line = math.max(num(5), now)
local function turnAt(interval) return math.max(line - (burst - 1) * interval, now + held) end
local function answer(granted, wait)
	return {string.format("%.6f", rateNow()), math.ceil(held), num(7), granted and 1 or 0, math.ceil(wait)}
end
`

// rateScript reads what is shared. It is no call.
var rateScript = redis.NewScript(sharedRate + `
return answer(false, 0)
`)

// takeScript gives a call its turn, unless that would come too late.
//
// ARGV[5] the longest wait in ms  ARGV[6] the longest hold in ms that is waited for
//
// The rate climbs by the time since the last call. What was learned is forgotten
// when the rate arrives at the setting, or after a week without calls.
var takeScript = redis.NewScript(sharedRate + `
if limit and held == 0 then
	-- A gap that is longer than calls are apart was rest.
	climbed = climbed + math.min(math.max(0, now - num(4)), math.max(1000, 1500 / rateNow()))
	local rate = rateNow()
	if rate >= full then
		redis.call("HDEL", KEYS[1], "limit", "drop", "climbed", "seen", "rate", "until")
		limit = nil
	else
		redis.call("HSET", KEYS[1], "climbed", string.format("%.0f", climbed), "seen", string.format("%.0f", now),
			"rate", string.format("%.6f", rate))
	end
end
local interval = 1000 / rateNow()
local at = turnAt(interval)
if held > tonumber(ARGV[6]) or at - now > tonumber(ARGV[5]) then return answer(false, at - now) end
redis.call("HSET", KEYS[1], "line", text(math.max(line, at) + interval), "turn", text(at), "now", text(now))
redis.call("PEXPIRE", KEYS[1], 604800000)
return answer(true, at - now)
`)

// beginCallsScript says whether something that needs calls may begin.
//
// ARGV[5] within how many ms its first call must have its turn
//
// What has begun may not have asked for its calls yet. So it is counted by
// itself, too: as many begin as there are turns for half a call each, since some
// of them will find that they have nothing to do.
var beginCallsScript = redis.NewScript(sharedRate + `
local interval = 1000 / rateNow()
local wait = turnAt(interval) - now - tonumber(ARGV[5])
if wait > 0 then return answer(false, wait) end
local half = interval / 2
local began = math.max(num(6), now)
wait = began - (burst - 1) * half - now
if wait > 0 then return answer(false, wait) end
redis.call("HSET", KEYS[1], "began", text(began + half), "now", text(now))
redis.call("PEXPIRE", KEYS[1], 604800000)
return answer(true, 0)
`)

// limitedScript lowers the rate and holds everyone back. During a hold it only
// lengthens the hold. A hold that begins or gets longer makes all turns void:
// the line begins anew at its end.
//
// ARGV[5] the hold in milliseconds
var limitedScript = redis.NewScript(sharedRate + `
local longer = tonumber(ARGV[5]) > held
if held == 0 then
	local met = rateNow()
	if limit and climbed > span / 4 then drop = 0.1
	elseif limit and drop < 0.25 then drop = 0.25
	else drop = 0.5 end
	limit, climbed = math.max(lowest, met), 0
end
if not longer then return answer(false, held) end
held = tonumber(ARGV[5])
stored[7] = num(7) + 1
local ends = text(now + held)
redis.call("HSET", KEYS[1], "limit", string.format("%.6f", limit or full), "drop", drop, "climbed", string.format("%.0f", climbed),
	"until", ends, "seen", ends, "rate", string.format("%.6f", rateNow()), "line", ends, "began", text(now), "now", text(now), "voided", stored[7])
redis.call("PEXPIRE", KEYS[1], 604800000)
return answer(false, held)
`)

// ask runs one of the scripts and keeps what it says of what is shared.
func (b *Budget) ask(ctx context.Context, script *redis.Script, more ...any) (turn, error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	args := append([]any{b.perSecond, min(b.perSecond, lowestRate), b.climb.Milliseconds(), b.burst}, more...)
	answer, err := script.Run(ctx, b.rdb, []string{b.key}, args...).Slice()
	if err != nil {
		return turn{}, err
	}
	t, err := parseTurn(answer)
	if err == nil {
		b.remember(t.shared)
	}
	return t, err
}

// parseTurn reads what the scripts return.
func parseTurn(answer []any) (t turn, err error) {
	wrong := errors.New("the budget's script answered with something unexpected")
	if len(answer) != 5 {
		return turn{}, wrong
	}
	text, _ := answer[0].(string)
	if t.rate, err = strconv.ParseFloat(text, 64); err != nil {
		return turn{}, wrong
	}
	var numbers [4]int64
	for i := range numbers {
		n, ok := answer[i+1].(int64)
		if !ok {
			return turn{}, wrong
		}
		numbers[i] = n
	}
	t.hold, t.voided = time.Duration(numbers[0])*time.Millisecond, numbers[1]
	t.granted, t.wait = numbers[2] == 1, time.Duration(numbers[3])*time.Millisecond
	return t, nil
}
