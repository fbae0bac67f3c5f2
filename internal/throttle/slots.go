package throttle

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// slotLease is how long a holder that vanished keeps its slot.
	slotLease = 10 * time.Second

	// patience is how long a waiting replica that stopped asking keeps its
	// place in line.
	patience = time.Second
	// A waiting replica asks again after 5 to 50 ms.
	leastPoll, pollSpread = 5 * time.Millisecond, 45 * time.Millisecond
	// giveBackTimeout bounds how long a release blocks. A slot that could not
	// be given back in that time falls free when its lease ends.
	giveBackTimeout = 2 * time.Second
)

// Slots are a semaphore over all replicas.
//
// In Redis, KEY is a sorted set of holders by the end of their leases in
// server time; at KEY:line a hash of the replicas that wait. Both share KEY's
// hash tag; a KEY without one becomes one.
type Slots struct {
	rdb     redis.UniversalClient
	holders string
	line    string
	n       int
	lease   time.Duration

	turn  chan struct{} // held by the one goroutine that stands in line
	freed chan struct{} // signalled when this process gives a slot back
}

// NewSlots returns the n slots named key. A holder renews its lease while it
// lives; one that vanished is forgotten after ten seconds.
func NewSlots(rdb redis.UniversalClient, key string, n int) (*Slots, error) {
	switch {
	case key == "":
		return nil, errors.New("slots need a key")
	case n < 1:
		return nil, fmt.Errorf("%d slots: use 1 or more", n)
	}
	if !strings.Contains(key, "{") {
		key = "{" + key + "}"
	}
	return &Slots{
		rdb: rdb, holders: key, line: key + ":line", n: n, lease: slotLease,
		turn: make(chan struct{}, 1), freed: make(chan struct{}, 1),
	}, nil
}

// Acquire waits for a slot and returns the function that gives it back, which
// may be called any number of times and blocks two seconds at most. Goroutines
// of a process are served in the order in which they came, and so are the
// replicas. The error is an [*Unavailable]: ctx ended, or Redis is away.
func (s *Slots) Acquire(ctx context.Context) (release func(), err error) {
	// One goroutine of a process stands in line for all the others.
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, s.unavailable(ctx.Err())
	}
	holder := rand.Text()
	for {
		granted, err := s.try(ctx, holder)
		if err == nil && granted {
			return s.hold(holder), nil
		}
		if err == nil {
			err = pause(ctx, leastPoll+jitter(pollSpread), s.freed)
		}
		if err != nil {
			// The slot may have been granted by an answer that was lost.
			s.giveBack(ctx, holder)
			return nil, s.unavailable(err)
		}
	}
}

// acquireScript takes a slot, or a place in the line for one.
//
// KEYS[1] the holders, a sorted set by the end of the lease
// KEYS[2] the line, a hash: waiter to ARRIVAL:SEEN, µs and ms of server time
// ARGV[1] who asks
// ARGV[2] the number of slots
// ARGV[3] the lease in milliseconds
// ARGV[4] after how many milliseconds a silent waiter loses its place
//
// Returns 1 when ARGV[1] holds a slot, else 0. A waiter gets a slot when fewer
// waiters stand before it than slots are free. The keys of slots that nobody
// has used for a day go.
var acquireScript = redis.NewScript(`
local time = redis.call("TIME")
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)
local me = ARGV[1]
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", now)
local free = tonumber(ARGV[2]) - redis.call("ZCARD", KEYS[1])

local arrival, others = micros, {}
local line = redis.call("HGETALL", KEYS[2])
for i = 1, #line, 2 do
	local came, seen = string.match(line[i + 1], "^(%d+):(%d+)$")
	if line[i] == me and came then
		arrival = tonumber(came)
	elseif not came or now - tonumber(seen) > tonumber(ARGV[4]) then
		redis.call("HDEL", KEYS[2], line[i])
	else
		others[line[i]] = tonumber(came)
	end
end
for other, came in pairs(others) do
	if came < arrival or (came == arrival and other < me) then
		free = free - 1
	end
end

if free > 0 or redis.call("ZSCORE", KEYS[1], me) then
	redis.call("HDEL", KEYS[2], me)
	redis.call("ZADD", KEYS[1], now + tonumber(ARGV[3]), me)
	redis.call("PEXPIRE", KEYS[1], 86400000)
	return 1
end
redis.call("HSET", KEYS[2], me, string.format("%.0f:%.0f", arrival, now))
redis.call("PEXPIRE", KEYS[2], 86400000)
return 0
`)

func (s *Slots) try(ctx context.Context, holder string) (granted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	return acquireScript.Run(ctx, s.rdb, []string{s.holders, s.line},
		holder, s.n, s.lease.Milliseconds(), patience.Milliseconds()).Bool()
}

// renewScript extends a lease.
//
// KEYS[1] the holders
// ARGV[1] the holder
// ARGV[2] the lease in milliseconds
//
// A holder that is missing is entered again: it still runs, and a count of the
// holders must include it, whether its lease ended or Redis lost its data.
var renewScript = redis.NewScript(`
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call("ZADD", KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call("PEXPIRE", KEYS[1], 86400000)
return 1
`)

// hold renews the lease until the returned function is called.
func (s *Slots) hold(holder string) (release func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ctx := context.Background() // a slot outlives the call that acquired it
		s.renew(ctx, holder, stop)
		s.giveBack(ctx, holder)
		select {
		case s.freed <- struct{}{}:
		default:
		}
	}()
	return sync.OnceFunc(func() {
		close(stop)
		timer := time.NewTimer(giveBackTimeout)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
		}
	})
}

func (s *Slots) renew(ctx context.Context, holder string, stop <-chan struct{}) {
	interval := s.lease / 3
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			ctx, cancel := context.WithTimeout(ctx, interval)
			// A failed renewal is followed by the next; two are spare.
			_ = renewScript.Run(ctx, s.rdb, []string{s.holders}, holder, s.lease.Milliseconds()).Err()
			cancel()
		}
	}
}

// giveBack leaves the slot and the line, also when ctx has ended. If it fails,
// the lease's end does the same.
func (s *Slots) giveBack(ctx context.Context, holder string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTimeout)
	defer cancel()
	_, _ = s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.ZRem(ctx, s.holders, holder)
		pipe.HDel(ctx, s.line, holder)
		return nil
	})
}

func (s *Slots) unavailable(err error) error {
	return &Unavailable{Attempt: "waiting for one of the slots " + s.holders, Err: err}
}
