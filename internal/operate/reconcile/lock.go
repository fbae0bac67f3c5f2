package reconcile

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// lockLife is how long the lock of a process that was killed stays.
	lockLife = 10 * time.Second
	// renewal is how often a process that lives renews it.
	renewal = 2 * time.Second
	// lockTimeout bounds one question to Redis.
	lockTimeout = 5 * time.Second
)

// Lock lets one comparison of a site run at a time, on whichever machine.
type Lock struct {
	rdb   redis.UniversalClient
	key   string
	done  string // the key of [Lock.Done]
	value string

	cancel context.CancelCauseFunc
	ended  sync.WaitGroup
}

// holder is what stands in Redis of the process that has the lock.
type holder struct {
	Owner string    `json:"owner"`
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

// Running reports that another process compares the same site.
type Running struct{ holder }

func (e *Running) Error() string {
	return fmt.Sprintf("the site is being compared already, by process %d on %s, since %s: wait for it, or stop it there",
		e.PID, e.Host, e.Since.Format("2006-01-02 15:04:05 MST"))
}

// errLost ends a comparison whose lock another process has taken.
var errLost = errors.New("another process has taken the comparison over, since Redis was away for too long")

// NewLock returns the lock of a site.
func NewLock(rdb redis.UniversalClient, site string) *Lock {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	value, _ := json.Marshal(holder{rand.Text(), host, os.Getpid(), time.Now().UTC().Truncate(time.Second)})
	return &Lock{rdb: rdb, key: "spw:reconcile:" + site + ":lock", done: "spw:reconcile:" + site + ":done", value: string(value)}
}

// Now tells Redis's time.
func (l *Lock) Now(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	now, err := l.rdb.Time(ctx).Result()
	if err != nil {
		return time.Time{}, fmt.Errorf("asking Redis for the time: %w", err)
	}
	return now, nil
}

// Done tells for which time of a schedule the site was compared last; the zero
// time: for none.
func (l *Lock) Done(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	seconds, err := l.rdb.Get(ctx, l.done).Int64()
	if errors.Is(err, redis.Nil) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("reading when the site was compared: %w", err)
	}
	return time.Unix(seconds, 0), nil
}

// SetDone notes for which time of a schedule the site was compared.
func (l *Lock) SetDone(ctx context.Context, due time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	if err := l.rdb.Set(ctx, l.done, due.Unix(), 0).Err(); err != nil {
		return fmt.Errorf("noting that the site was compared: %w", err)
	}
	return nil
}

// Take takes the lock and keeps it until release. The context that it returns
// ends when another process has it all the same. Where a process has the lock it
// waits until that one has shown that it lives, and returns [*Running]; the lock
// of a process that was killed is taken.
func (l *Lock) Take(ctx context.Context) (held context.Context, release func(), err error) {
	before := time.Duration(-1)
	for {
		other, left, err := l.try(ctx)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("taking the lock of the comparison: %w", err)
		case other == "":
			held, release := l.keep(ctx)
			return held, release, nil
		case before >= 0 && left > before:
			e := &Running{}
			_ = json.Unmarshal([]byte(other), &e.holder)
			return nil, nil, e
		}
		before = left
		if err := sleep(ctx, renewal/4); err != nil {
			return nil, nil, err
		}
	}
}

// tryScript takes or renews the lock, unless another process has it.
//
// KEYS[1] the lock  ARGV[1] this holder  ARGV[2] its life in ms
//
// Returns {the other holder or an empty text, how many ms it still has the lock}.
var tryScript = redis.NewScript(`
local has = redis.call("GET", KEYS[1])
if has and has ~= ARGV[1] then return {has, redis.call("PTTL", KEYS[1])} end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return {"", 0}
`)

// giveBackScript gives the lock back.
//
// KEYS[1] the lock  ARGV[1] this holder
var giveBackScript = redis.NewScript(`
if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end
return 0
`)

func (l *Lock) try(ctx context.Context) (other string, left time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	answer, err := tryScript.Run(ctx, l.rdb, []string{l.key}, l.value, lockLife.Milliseconds()).Slice()
	if err != nil {
		return "", 0, err
	}
	other, _ = answer[0].(string)
	ms, _ := answer[1].(int64)
	return other, time.Duration(ms) * time.Millisecond, nil
}

// keep renews the lock.
func (l *Lock) keep(ctx context.Context) (held context.Context, release func()) {
	held, l.cancel = context.WithCancelCause(ctx)
	l.ended.Go(func() {
		again := time.NewTicker(renewal)
		defer again.Stop()
		for {
			select {
			case <-held.Done():
				return
			case <-again.C:
			}
			// Without an answer the lock may have ended, and nobody has it.
			if other, _, err := l.try(held); err == nil && other != "" {
				l.cancel(errLost)
				return
			}
		}
	})
	return held, func() {
		l.cancel(nil)
		l.ended.Wait()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockTimeout)
		defer cancel()
		// If this fails, the lock's end does the same.
		_ = giveBackScript.Run(ctx, l.rdb, []string{l.key}, l.value).Err()
	}
}
