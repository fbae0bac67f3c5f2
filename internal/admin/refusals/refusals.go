// Package refusals counts the webhooks that ingest refused, by code and hour,
// so that an operator sees a wrong access key before anyone misses a contact.
//
// A refusal costs a counter in memory; every replica writes its counts to Redis
// once in some seconds, however many there were, so an attack fills neither
// Redis nor its connections. Nothing of a refused request is kept: no address,
// no parameter, no path. A replica that is killed loses the seconds since it
// last wrote.
package refusals

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

const (
	// flushEvery is how often counts are written.
	flushEvery = 3 * time.Second
	// Keep is how many hours are kept, the current one included.
	Keep = 48
	// maxCodes bounds what one replica counts apart; the codes are ingest's own
	// and far fewer for each site.
	maxCodes = 64
	// overflow is the code of the rest.
	overflow    = "other"
	callTimeout = 3 * time.Second
)

// keyOf is where the counts of a site stand: a hash HOUR:CODE → count, HOUR since
// 1970, and last:CODE → ms. What came without an accepted key belongs to no site
// and stands with [contact.DefaultSite].
func keyOf(site string) string {
	if site == "" || site == contact.DefaultSite {
		return "spw:refusals"
	}
	return "spw:refusals:" + site
}

// KeysOf names what Redis holds of a site's refusals. Those of
// [contact.DefaultSite] are the installation's, too.
func KeysOf(site string) []string {
	if site == contact.DefaultSite {
		return nil
	}
	return []string{keyOf(site)}
}

// reason is why a webhook was refused.
type reason struct{ site, code string }

// Counter counts. It may be used by many goroutines.
type Counter struct {
	rdb redis.UniversalClient

	mu     sync.Mutex
	codes  map[string]bool // that are counted apart
	counts map[reason]int64
}

// New returns a counter that writes to Redis while [Counter.Run] runs.
func New(rdb redis.UniversalClient) *Counter {
	return &Counter{rdb: rdb, codes: make(map[string]bool), counts: make(map[reason]int64)}
}

// Count notes one refusal; site is empty if no key told.
func (c *Counter) Count(site, code string) { c.add(reason{site, code}, 1) }

func (c *Counter) add(r reason, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.codes[r.code] && len(c.codes) >= maxCodes {
		r.code = overflow
	}
	c.codes[r.code] = true
	c.counts[r] += n
}

// Run writes the counts until ctx ends, and what is left then. missed is told
// when Redis did not take them; they are written with the next ones.
func (c *Counter) Run(ctx context.Context, missed func(error)) {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			_ = c.Flush(context.WithoutCancel(ctx)) // nobody is left to try again
			return
		case <-ticker.C:
			if err := c.Flush(ctx); err != nil && ctx.Err() == nil {
				missed(err)
			}
		}
	}
}

// flushScript adds counts to the current hour and drops hours that are too old.
//
// KEYS[1] the hash  ARGV[1] hours to keep  ARGV[2…] code, count, code, count, …
var flushScript = redis.NewScript(`
local time = redis.call('TIME')
local hour = math.floor(time[1] / 3600)
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 2, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], hour .. ':' .. ARGV[i], ARGV[i + 1])
  redis.call('HSET', KEYS[1], 'last:' .. ARGV[i], now)
end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  local old = tonumber(string.match(field, '^(%d+):'))
  if old and old <= hour - ARGV[1] then redis.call('HDEL', KEYS[1], field) end
end
redis.call('EXPIRE', KEYS[1], ARGV[1] * 3600)
return hour
`)

// Flush writes what was counted since the last time. After an error the counts
// are kept for the next one; if Redis took them and only its answer was lost,
// they are counted twice.
func (c *Counter) Flush(ctx context.Context) error {
	c.mu.Lock()
	counts := c.counts
	c.counts = make(map[reason]int64)
	c.mu.Unlock()
	args := make(map[string][]any) // by key
	for r, n := range counts {
		key := keyOf(r.site)
		if args[key] == nil {
			args[key] = []any{Keep}
		}
		args[key] = append(args[key], r.code, n)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var failed error
	for key, list := range args {
		err := flushScript.Run(ctx, c.rdb, []string{key}, list...).Err()
		if err == nil {
			continue
		}
		failed = fmt.Errorf("writing the counts of refusals: %w", err)
		for r, n := range counts {
			if keyOf(r.site) == key {
				c.add(r, n)
			}
		}
	}
	return failed
}

// Code is how often webhooks were refused for one reason.
type Code struct {
	Code  string    `json:"code"`
	Total int64     `json:"total"`
	Last  time.Time `json:"last"`
	// Hours are the counts by hour, oldest first; the last is the current hour.
	Hours []int64 `json:"hours"`
}

// Read returns the refusals of a site in the last hours, the current one included, over
// all replicas; the most frequent code first. At most [Keep] hours are known.
func Read(ctx context.Context, rdb redis.UniversalClient, site string, hours int) ([]Code, error) {
	hours = max(1, min(hours, Keep))
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var fields *redis.MapStringStringCmd
	var now *redis.TimeCmd
	_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		fields, now = pipe.HGetAll(ctx, keyOf(site)), pipe.Time(ctx)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the counts of refusals: %w", err)
	}
	current := now.Val().Unix() / 3600
	byCode := make(map[string]*Code)
	for field, value := range fields.Val() {
		when, code, _ := strings.Cut(field, ":")
		hour, err := strconv.ParseInt(when, 10, 64)
		age := current - hour
		if err != nil || age < 0 || age >= int64(hours) {
			continue
		}
		n, _ := strconv.ParseInt(value, 10, 64)
		if byCode[code] == nil {
			last, _ := strconv.ParseInt(fields.Val()["last:"+code], 10, 64)
			byCode[code] = &Code{Code: code, Last: time.UnixMilli(last).UTC(), Hours: make([]int64, hours)}
		}
		byCode[code].Hours[int64(hours)-1-age] += n
		byCode[code].Total += n
	}
	codes := make([]Code, 0, len(byCode))
	for _, code := range byCode {
		codes = append(codes, *code)
	}
	slices.SortFunc(codes, func(a, b Code) int {
		if a.Total != b.Total {
			return int(max(-1, min(1, b.Total-a.Total)))
		}
		return strings.Compare(a.Code, b.Code)
	})
	return codes, nil
}
