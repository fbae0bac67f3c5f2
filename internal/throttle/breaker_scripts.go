package throttle

import (
	"github.com/redis/go-redis/v9"
)

// arguments are what each of the breaker's scripts gets: the rules, then more.
func (b *Breaker) arguments(more ...any) []any {
	o := b.rules
	return append([]any{
		1 / o.Memory, o.Share, o.Fade.Milliseconds(), o.First.Milliseconds(), o.Longest.Milliseconds(),
		o.Ramp.Milliseconds(), o.RampStart,
	}, more...)
}

// breakerStanding is the beginning of the breaker's scripts.
//
// KEYS[1] the breaker's hash: "state" (absent: closed), "since", "reason" and
// "retry_at" of the state; "failing", the share of failed calls at the time
// "seen"; "pauses", how often in a row it opened; "probe" and "probe_until", who
// probes; "closed_at" and "admitted", the passes since then; "now", when it was
// last changed. Times are milliseconds of Redis's clock. If that goes back, as with
// a replica that takes over, they go back with it: else nothing would begin until
// it has caught up.
// ARGV[1] what a call weighs  ARGV[2] the share that opens  ARGV[3] ms after
// which a failure counts half  ARGV[4], ARGV[5] shortest and longest pause in ms
// ARGV[6] ms of the ramp  ARGV[7] passes at its beginning
//
// standing() is {state, ms until the next probe, 1 while passes are counted, the
// prober's token}.
const breakerStanding = `
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local fields = redis.call("HGETALL", KEYS[1])
local rec = {}
for i = 1, #fields, 2 do rec[fields[i]] = fields[i + 1] end
local function num(name) return tonumber(rec[name] or "") or 0 end
local function put(...)
	local given = {...}
	for i = 1, #given, 2 do
		if type(given[i + 1]) == "number" then
			given[i + 1] = string.format("%.0f", given[i + 1])
		end
		rec[given[i]] = given[i + 1]
		redis.call("HSET", KEYS[1], given[i], given[i + 1])
	end
	redis.call("HSET", KEYS[1], "now", string.format("%.0f", now))
	redis.call("PEXPIRE", KEYS[1], 604800000)
end
local function drop(...)
	for _, name in ipairs({...}) do rec[name] = nil end
	redis.call("HDEL", KEYS[1], ...)
end
local back = num("now") - now
if back > 1000 then
	for _, name in ipairs({"since", "retry_at", "seen", "probe_until", "closed_at"}) do
		if rec[name] then put(name, num(name) - back) end
	end
end
local function ramping() return rec.closed_at and now - num("closed_at") < tonumber(ARGV[6]) end
local function standing()
	local state = rec.state or "closed"
	local wait = 0
	if state == "open" then wait = math.max(0, num("retry_at") - now) end
	return state, wait, (state == "closed" and ramping()) and 1 or 0, rec.probe or ""
end
`

// reportScript takes note of calls and returns standing().
//
// ARGV[8] calls that succeeded  ARGV[9] that failed  ARGV[10] how many ms the
// system asked to be left alone  ARGV[11] the last failure's reason  ARGV[12] a
// random number from 0 to 1  ARGV[13] the token of the caller's probe
//
// Closed: the share of failures follows the calls; from ARGV[2] on, or when the
// system asked for it, the breaker opens. Open: late answers change nothing, but
// a request to stay away lengthens the pause. Half open: a success closes, and a
// failure of the prober opens for twice as long.
var reportScript = redis.NewScript(breakerStanding + `
local good, bad, asked = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])

local function open()
	local pauses = 1
	-- What fails before the ramp is over was not back.
	if rec.state == "half_open" or ramping() then pauses = num("pauses") + 1 end
	local pause = math.min(tonumber(ARGV[5]), tonumber(ARGV[4]) * 2 ^ math.min(pauses - 1, 30))
	pause = pause * (0.75 + tonumber(ARGV[12]) / 2)
	local since = rec.state == "half_open" and num("since") or now
	put("state", "open", "since", since, "reason", ARGV[11], "retry_at", now + math.max(pause, asked), "pauses", pauses)
	drop("probe", "probe_until", "closed_at", "admitted", "failing", "seen")
end

local state = rec.state or "closed"
if good + bad == 0 then
	return {standing()}
elseif state == "open" then
	if asked > 0 and now + asked > num("retry_at") then put("retry_at", now + asked) end
elseif state == "half_open" then
	if good > 0 then
		put("since", now, "closed_at", now, "admitted", 0)
		drop("state", "reason", "retry_at", "probe", "probe_until")
	elseif ARGV[13] ~= "" and ARGV[13] == rec.probe then
		open()
	end
else
	local failing = num("failing") * 0.5 ^ (math.max(0, now - num("seen")) / tonumber(ARGV[3]))
	local kept = (1 - tonumber(ARGV[1])) ^ (good + bad)
	failing = failing * kept + bad / (good + bad) * (1 - kept)
	if bad > 0 and (asked > 0 or failing >= tonumber(ARGV[2])) then
		open()
	elseif bad > 0 or failing > 0.001 then
		put("failing", string.format("%.6f", failing), "seen", now)
	elseif rec.failing then
		drop("failing", "seen")
	end
end
return {standing()}
`)

// beginScript asks whether a pass may begin.
//
// ARGV[8] a token for the probe that the pass may become  ARGV[9] how many ms
// it has the right to probe; see keepProbeScript
//
// Returns {verdict, ms until asking again, standing()...}; verdict 0: not now,
// 1: go, 2: go, as the probe.
//
// During the ramp ARGV[7] * 2^(15 t / ramp) passes begin in all within t ms, so
// their rate grows from a few to any within it.
var beginScript = redis.NewScript(breakerStanding + `
local function answer(verdict, wait)
	local state, left, counted, prober = standing()
	return {verdict, math.ceil(wait), state, left, counted, prober}
end

local state = rec.state or "closed"
if state == "closed" then
	if ramping() then
		local admitted, since = num("admitted"), now - num("closed_at")
		local doubling = tonumber(ARGV[6]) / 15
		if admitted + 1 > tonumber(ARGV[7]) * 2 ^ (since / doubling) then
			return answer(0, doubling * math.log((admitted + 1) / tonumber(ARGV[7])) / math.log(2) - since + 1)
		end
		put("admitted", admitted + 1)
	end
	return answer(1, 0)
end
if state == "open" and num("retry_at") > now then
	return answer(0, num("retry_at") - now)
end
if state == "half_open" and rec.probe and num("probe_until") > now then
	return answer(0, math.min(250, num("probe_until") - now))
end
put("state", "half_open", "probe", ARGV[8], "probe_until", now + tonumber(ARGV[9]))
return answer(2, 0)
`)

// keepProbeScript lengthens the right to probe. It returns 0 if the right is gone.
//
// KEYS[1] the breaker's hash  ARGV[1] the token  ARGV[2] ms from now on
var keepProbeScript = redis.NewScript(`
if redis.call("HGET", KEYS[1], "probe") ~= ARGV[1] then return 0 end
local time = redis.call("TIME")
redis.call("HSET", KEYS[1], "probe_until", string.format("%d", time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]))
return 1
`)

// endProbeScript gives the right to probe back, so that the next pass is the
// probe.
//
// KEYS[1] the breaker's hash  ARGV[1] the token
var endProbeScript = redis.NewScript(`
if redis.call("HGET", KEYS[1], "probe") == ARGV[1] then
	redis.call("HDEL", KEYS[1], "probe", "probe_until")
end
return 1
`)
