package throttle

import (
	"context"
	"crypto/rand"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// underWayTime is how long the site should need to store all contacts whose
	// passes are under way. It is longer than a pass takes while the site keeps
	// pace, so the site always has work. It is far shorter than the 40 s that a
	// pass has, so a site that gets slower after passes began still stores them.
	underWayTime = 10 * time.Second
	// placesLife is how long the places of a process that vanished are counted.
	placesLife = 10 * time.Second
	// placesBeat is how often a process with passes under way says so.
	placesBeat = time.Second
)

// Places limit the passes under way, over all replicas, to what the site can
// store in time.
//
// In Redis, KEY is a hash with a field for each process that has passes under
// way: their number, the contacts a second that it stored lately, and until
// when that counts, in milliseconds of Redis's clock. A process that vanished
// is not counted any more after ten seconds.
type Places struct {
	rdb redis.UniversalClient
	key string
	me  string

	telling sync.Mutex // held while Redis is told, so that it is told in order

	mu      sync.Mutex
	passes  int
	pace    float64
	beating bool // a goroutine keeps the field
}

// NewPlaces returns this process's places named key.
func NewPlaces(rdb redis.UniversalClient, key string) *Places {
	return &Places{rdb: rdb, key: key, me: rand.Text()[:16]}
}

// UnderWay is how many passes this process has begun and not ended.
func (p *Places) UnderWay() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passes
}

// placesScript says how many passes a process has, and may ask for another.
//
// KEYS[1] the hash
// ARGV[1] the process  ARGV[2] its passes under way  ARGV[3] contacts a second
// that it stored lately  ARGV[4] how many ms this counts
// ARGV[5] the seconds in which the site should store what is under way
// ARGV[6] passes that may be under way however slow the site is; empty: none is
// asked for
//
// Returns 1 if another pass may begin, which is counted then, else 0.
var placesScript = redis.NewScript(`
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local mine, pace = tonumber(ARGV[2]), tonumber(ARGV[3])
local passes = mine
local all = redis.call("HGETALL", KEYS[1])
for i = 1, #all, 2 do
	if all[i] ~= ARGV[1] then
		local n, stored, ends = string.match(all[i + 1], "^(%d+) ([%d.]+) (%d+)$")
		if ends and tonumber(ends) > now then
			passes, pace = passes + tonumber(n), pace + tonumber(stored)
		else
			redis.call("HDEL", KEYS[1], all[i])
		end
	end
end
local granted = ARGV[6] ~= "" and passes < math.max(tonumber(ARGV[6]), pace * tonumber(ARGV[5]))
if granted then mine = mine + 1 end
if mine == 0 then
	redis.call("HDEL", KEYS[1], ARGV[1])
else
	redis.call("HSET", KEYS[1], ARGV[1], string.format("%d %s %.0f", mine, ARGV[3], now + tonumber(ARGV[4])))
	redis.call("PEXPIRE", KEYS[1], ARGV[4])
end
return granted and 1 or 0
`)

// begin takes a place if there is one. pace is what this process stored a
// second lately, floor how many passes may be under way at least, over all
// replicas. The error is an [*Unavailable].
func (p *Places) begin(ctx context.Context, pace float64, floor int) (ok bool, err error) {
	p.telling.Lock()
	defer p.telling.Unlock()
	p.mu.Lock()
	p.pace = pace
	p.mu.Unlock()
	ok, err = p.tell(ctx, strconv.Itoa(floor))
	if err != nil {
		return false, &Unavailable{Attempt: "asking how many passes are under way", Err: err}
	}
	if !ok {
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passes++
	if !p.beating {
		p.beating = true
		go p.beat(context.WithoutCancel(ctx))
	}
	return true, nil
}

// end gives a place back. The others learn of it with the next begin or beat.
func (p *Places) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passes--
}

// beat says that the passes under way are, until none is.
func (p *Places) beat(ctx context.Context) {
	ticker := time.NewTicker(placesBeat)
	defer ticker.Stop()
	for range ticker.C {
		if p.beatOnce(ctx) {
			return
		}
	}
}

func (p *Places) beatOnce(ctx context.Context) (done bool) {
	p.telling.Lock()
	defer p.telling.Unlock()
	idle := p.UnderWay() == 0
	// If it fails, the next one may not, or the field ends by itself.
	_, _ = p.tell(ctx, "")
	if idle { // begin waits, so it still is
		p.mu.Lock()
		defer p.mu.Unlock()
		p.beating = false
	}
	return idle
}

// tell runs placesScript.
func (p *Places) tell(ctx context.Context, floor string) (ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	p.mu.Lock()
	passes, pace := p.passes, p.pace
	p.mu.Unlock()
	return placesScript.Run(ctx, p.rdb, []string{p.key}, p.me, passes, strconv.FormatFloat(pace, 'f', 3, 64),
		placesLife.Milliseconds(), underWayTime.Seconds(), floor).Bool()
}
