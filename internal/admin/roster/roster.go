// Package roster knows which replicas of ingest and of the worker are alive.
// Each announces itself every few seconds; one that stops in order takes itself
// off, one that was killed shows by its silence and is forgotten after a while.
//
// It is for the operator's eyes: nothing is decided by it. All times are those
// of Redis's clock, so the clocks of the machines do not matter.
package roster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// beat is how often a replica announces itself.
	beat = 5 * time.Second
	// silence is how long a living replica may go unheard: some beats, so that
	// a slow Redis does not make the list flicker.
	silence = 20 * time.Second
	// forget is how long a silent replica is listed. Whoever looks for what was
	// killed finds it within that time.
	forget = 10 * time.Minute
	// callTimeout bounds one command.
	callTimeout = 3 * time.Second
)

// The roles of replicas.
const (
	Ingest = "ingest"
	Worker = "worker"
)

// Setting is a setting in force, secrets masked.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Replica is one running program, or one half of `spillway run`.
type Replica struct {
	ID      string `json:"id"` // unlike that of any other, a restarted one included
	Role    string `json:"role"`
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Version string `json:"version"`
	// Concurrency is how many passes a worker may run, UnderWay how many it ran
	// when it was last seen. Both are zero for ingest.
	Concurrency int       `json:"concurrency,omitempty"`
	UnderWay    int       `json:"under_way"`
	Settings    []Setting `json:"settings,omitempty"`

	// Since, Seen and Alive are filled in by [Roster.List].
	Since time.Time `json:"since"`
	Seen  time.Time `json:"seen"`
	Alive bool      `json:"alive"`
}

// Roster is the list in a Redis.
type Roster struct {
	rdb redis.UniversalClient
}

// New returns the roster of an installation.
func New(rdb redis.UniversalClient) *Roster { return &Roster{rdb: rdb} }

// The keys share a hash tag, so that one script changes all of them.
const (
	seenKey  = "spw:{replicas}:seen"  // sorted set id → last beat in ms
	aboutKey = "spw:{replicas}:about" // hash id → Replica as JSON
	sinceKey = "spw:{replicas}:since" // hash id → first beat in ms
)

// beatScript notes that a replica is alive and forgets those silent for long.
//
// KEYS[1] seen  KEYS[2] about  KEYS[3] since
// ARGV[1] id  ARGV[2] the replica as JSON  ARGV[3] ms after which one is forgotten
var beatScript = redis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('HSETNX', KEYS[3], ARGV[1], now)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
  redis.call('HDEL', KEYS[3], id)
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[3]) end
return 1
`)

// Announce keeps a replica on the list until ctx ends, then takes it off.
// underWay, which may be nil, tells how many passes it runs. missed is told of
// beats that Redis did not take; the next one is due in seconds.
func (r *Roster) Announce(ctx context.Context, replica Replica, underWay func() int, missed func(error)) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		if underWay != nil {
			replica.UnderWay = underWay()
		}
		if err := r.Beat(ctx, replica); err != nil && ctx.Err() == nil {
			missed(err)
		}
		select {
		case <-ctx.Done():
			r.leave(context.WithoutCancel(ctx), replica.ID)
			return
		case <-ticker.C:
		}
	}
}

// Beat puts a replica on the list once.
func (r *Roster) Beat(ctx context.Context, replica Replica) error {
	about, err := json.Marshal(replica)
	if err != nil {
		return fmt.Errorf("encoding replica %s: %w", replica.ID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := beatScript.Run(ctx, r.rdb, []string{seenKey, aboutKey, sinceKey}, replica.ID, about, forget.Milliseconds()).Err(); err != nil {
		return fmt.Errorf("announcing replica %s: %w", replica.ID, err)
	}
	if replica.Role == Ingest {
		return r.there(ctx)
	}
	return nil
}

// leave is best effort: a replica that could not take itself off falls silent.
func (r *Roster) leave(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, _ = r.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.ZRem(ctx, seenKey, id)
		pipe.HDel(ctx, aboutKey, id)
		pipe.HDel(ctx, sinceKey, id)
		return nil
	})
}

// List returns the replicas: ingest before workers, then by host and age.
func (r *Roster) List(ctx context.Context) ([]Replica, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var seen *redis.ZSliceCmd
	var about, since *redis.MapStringStringCmd
	var now *redis.TimeCmd
	_, err := r.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		seen, about, since = pipe.ZRangeWithScores(ctx, seenKey, 0, -1), pipe.HGetAll(ctx, aboutKey), pipe.HGetAll(ctx, sinceKey)
		now = pipe.Time(ctx)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing replicas: %w", err)
	}
	replicas := make([]Replica, 0, len(seen.Val()))
	for _, entry := range seen.Val() {
		id, _ := entry.Member.(string)
		var replica Replica
		if json.Unmarshal([]byte(about.Val()[id]), &replica) != nil {
			continue // taken off between two commands
		}
		replica.Seen = time.UnixMilli(int64(entry.Score)).UTC()
		replica.Since = replica.Seen
		var first int64
		if _, err := fmt.Sscan(since.Val()[id], &first); err == nil {
			replica.Since = time.UnixMilli(first).UTC()
		}
		replica.Alive = now.Val().Sub(replica.Seen) < silence
		replicas = append(replicas, replica)
	}
	slices.SortStableFunc(replicas, before)
	return replicas, nil
}

func before(a, b Replica) int {
	switch {
	case a.Role != b.Role:
		if a.Role < b.Role {
			return -1
		}
		return 1
	case a.Host != b.Host:
		if a.Host < b.Host {
			return -1
		}
		return 1
	default:
		return a.Since.Compare(b.Since)
	}
}
