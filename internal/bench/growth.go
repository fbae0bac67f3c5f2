package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/pending"
	"spillway/internal/redisconn/redistest"
)

// firstID is the first contact of the growth runs: ids of equal length let one
// contact's keys be turned into another's.
const firstID = 100_000_000

// cloneScript makes contacts pending by copying all that Redis holds of one
// that was submitted: whichever keys those are.
//
// KEYS: the keys whose name holds the template's id, then the keys that hold
// it in a member  ARGV[1] how many of the first kind there are  ARGV[2] the
// template's id  ARGV[3] first id to make  ARGV[4] how many
const cloneScript = `
local own, template, first, count = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local function holds(text) return string.find(text, template, 1, true) end
local kinds, values = {}, {}
for i, key in ipairs(KEYS) do
  kinds[i] = redis.call('TYPE', key).ok
  local all
  if kinds[i] == 'hash' then all = redis.call('HGETALL', key)
  elseif kinds[i] == 'zset' then all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kinds[i] == 'list' then all = redis.call('LRANGE', key, 0, -1)
  elseif kinds[i] == 'set' then all = redis.call('SMEMBERS', key)
  elseif kinds[i] == 'stream' then return redis.error_reply('a stream cannot be cloned: ' .. key)
  else all = { redis.call('GET', key) } end
  values[i] = all
end
-- Of keys that contacts share, the template's own entries alone.
for i = own + 1, #KEYS do
  local kept, step = {}, (kinds[i] == 'hash' or kinds[i] == 'zset') and 2 or 1
  for j = 1, #values[i], step do
    if holds(values[i][j]) then
      kept[#kept + 1] = values[i][j]
      if step == 2 then kept[#kept + 1] = values[i][j + 1] end
    end
  end
  values[i] = kept
end
for n = first, first + count - 1 do
  local id = string.format('%d', n)
  local function put(text) return (string.gsub(text, template, id)) end
  for i, key in ipairs(KEYS) do
    local target = i <= own and put(key) or key
    local v = values[i]
    if kinds[i] == 'hash' then
      local changed = {}
      for j = 1, #v do changed[j] = put(v[j]) end
      redis.call('HSET', target, unpack(changed))
    elseif kinds[i] == 'zset' then
      for j = 1, #v, 2 do redis.call('ZADD', target, v[j + 1], put(v[j])) end
    elseif kinds[i] == 'list' then
      for j = 1, #v do redis.call('LPUSH', target, put(v[j])) end
    elseif kinds[i] == 'set' then
      for j = 1, #v do redis.call('SADD', target, put(v[j])) end
    else
      redis.call('SET', target, put(v[1]))
    end
  end
end
return count`

// heap is an installation with a number of contacts pending.
type heap struct {
	size     int
	server   *redistest.Server
	rdb      *redis.Client
	contacts *pending.Contacts
	side     *side
	admin    string
	filled   time.Time // the last time contacts were made pending
	perEach  float64   // bytes of Redis
	next     int64     // the next contact that is not pending

	coalesced, unique struct{ rates, p50 []float64 }
}

// growthRows measure one installation with a thousand, one with a hundred
// thousand and one with a million contacts pending, in turns.
func growthRows(ctx context.Context, s *stage) []Row {
	sizes := pick(s, []int{1_000, 100_000, 1_000_000}, []int{1_000, 10_000, 100_000})
	var heaps []*heap
	for _, size := range sizes {
		heaps = append(heaps, s.heap(ctx, size))
	}
	for round := range pick(s, 3, 2) {
		for _, h := range heaps {
			h.measure(ctx, s, round == 0)
		}
	}
	spreadOf := func(of func(*heap) []float64) (worst float64, note string) {
		var medians []float64
		for _, h := range heaps {
			medians = append(medians, median(of(h)))
		}
		parts := make([]string, len(medians))
		for i, value := range medians {
			parts[i] = figure(value, "")
		}
		return slices.Max(medians) / slices.Min(medians), strings.Join(parts, ", ")
	}
	counts := fmt.Sprintf("%d, %d and %d pending", sizes[0], sizes[1], sizes[2])
	var rows []Row
	for _, question := range []struct {
		what string
		of   func(*heap) []float64
		unit string
	}{
		{"throughput, webhooks of contacts that are pending, the best of three sizes against the worst", func(h *heap) []float64 { return h.coalesced.rates }, "/s"},
		{"median acknowledgement, the same", func(h *heap) []float64 { return h.coalesced.p50 }, " ms"},
		{"throughput, webhooks of other contacts", func(h *heap) []float64 { return h.unique.rates }, "/s"},
		{"median acknowledgement, the same", func(h *heap) []float64 { return h.unique.p50 }, " ms"},
	} {
		worst, note := spreadOf(question.of)
		rows = append(rows, Row{What: question.what, Value: worst, Sense: AtMost, Bound: 1.2, Note: note + question.unit + " with " + counts})
	}
	largest := heaps[len(heaps)-1]
	rows = append(rows, Row{What: "memory of Redis per pending contact, all keys", Value: largest.perEach, Unit: "bytes", Sense: AtMost, Bound: 700, Note: fmt.Sprintf("%d pending", largest.size)})
	return append(rows, s.costs(ctx, heaps[0], largest)...)
}

// heap starts an installation and makes contacts pending.
func (s *stage) heap(ctx context.Context, size int) *heap {
	// The file is not rewritten while others are measured.
	server := redistest.Start(s, append(everySecond(), "--auto-aof-rewrite-percentage", "0")...)
	contacts, rdb := s.contacts(server.Addr)
	h := &heap{size: size, server: server, rdb: rdb, contacts: contacts, next: int64(firstID + size)}
	// Scripts and counters that do not grow with the contacts come first.
	s.submit(ctx, contacts, firstID, 1)
	before := s.usedMemory(ctx, rdb)
	s.clone(ctx, rdb, firstID, firstID+1, size-1)
	h.perEach = (s.usedMemory(ctx, rdb) - before) / float64(size-1)
	h.filled = time.Now()
	stats := s.stats(ctx, contacts)
	require.EqualValues(s, size, stats.Pending, "contacts that were made pending")
	ingest, webhooks, admin := s.ingest(ctx, server.URL(), nil)
	h.admin = "http://" + admin
	h.side = &side{name: fmt.Sprintf("%d pending", size), process: ingest, addr: webhooks, memory: h.admin + "/metrics"}
	return h
}

// clone copies what Redis holds of one contact.
func (s *stage) clone(ctx context.Context, rdb *redis.Client, template, first, count int) {
	own, shared := s.keysOf(ctx, rdb, idOf(template))
	script := redis.NewScript(cloneScript)
	const batch = 2000
	for done := 0; done < count; done += batch {
		err := script.Run(ctx, rdb, append(slices.Clone(own), shared...), len(own), idOf(template), first+done, min(batch, count-done)).Err()
		require.NoError(s, err, "copying a pending contact")
	}
}

// keysOf returns the keys of one contact, and those that it shares with others
// and that hold it.
func (s *stage) keysOf(ctx context.Context, rdb *redis.Client, id string) (own, shared []string) {
	keys, err := rdb.Keys(ctx, "*").Result() // a handful: one contact is pending
	require.NoError(s, err)
	for _, key := range keys {
		if strings.Contains(key, id) {
			own = append(own, key)
			continue
		}
		kind, err := rdb.Type(ctx, key).Result()
		require.NoError(s, err)
		var entries []string
		switch kind {
		case "zset":
			entries, err = rdb.ZRange(ctx, key, 0, -1).Result()
		case "list":
			entries, err = rdb.LRange(ctx, key, 0, -1).Result()
		case "set":
			entries, err = rdb.SMembers(ctx, key).Result()
		case "hash":
			entries, err = rdb.HKeys(ctx, key).Result()
		}
		require.NoError(s, err)
		if slices.ContainsFunc(entries, func(entry string) bool { return strings.Contains(entry, id) }) {
			shared = append(shared, key)
		}
	}
	require.NotEmpty(s, own, "keys of a pending contact")
	return own, shared
}

func (s *stage) usedMemory(ctx context.Context, rdb *redis.Client) float64 {
	info, err := rdb.Info(ctx, "memory").Result()
	require.NoError(s, err)
	return sample(strings.ReplaceAll(info, ":", " "), "used_memory")
}

// measure sends webhooks of contacts that are pending, then of others, which
// are taken back where they would change the size.
func (h *heap) measure(ctx context.Context, s *stage, warmUp bool) {
	spread := load{Connections: connections, Duration: pick(s, 2*time.Second, time.Second), First: firstID, Spread: int64(h.size)}
	if warmUp {
		l := spread
		l.Duration = 500 * time.Millisecond
		h.side.round(ctx, s, l)
	}
	seen := h.side.round(ctx, s, spread)
	h.coalesced.rates = append(h.coalesced.rates, seen.PerSecond)
	h.coalesced.p50 = append(h.coalesced.p50, milliseconds(seen.P50))

	seen = h.side.round(ctx, s, load{Connections: connections, Duration: pick(s, 2*time.Second, time.Second), First: h.next})
	h.next += seen.Accepted + connections
	h.unique.rates = append(h.unique.rates, seen.PerSecond)
	h.unique.p50 = append(h.unique.p50, milliseconds(seen.P50))
	if h.size < 10_000 {
		require.NoError(s, h.rdb.FlushDB(ctx).Err())
		s.submit(ctx, h.contacts, firstID, h.size)
		h.filled = time.Now()
	}
}

// sweepGrace is how long after a submission the sweep looks for its wake-up,
// and a little more.
const sweepGrace = 17 * time.Second

// costs compare what operators and workers ask for at two sizes.
func (s *stage) costs(ctx context.Context, small, large *heap) []Row {
	// From then on the sweep finds its full batch in both.
	s.rest(ctx, max(0, sweepGrace-time.Since(small.filled), sweepGrace-time.Since(large.filled)))
	timed := func(n int, ask func()) (took []float64) {
		for range n {
			began := time.Now()
			ask()
			took = append(took, milliseconds(time.Since(began)))
		}
		return took
	}
	asks := []struct {
		what      string
		rounds, n int
		ask       func(h *heap)
	}{
		// A swept contact is left alone for a while: the smaller size has two
		// batches of them.
		{"one sweep of 500 contacts", 2, 1, func(h *heap) {
			_, err := h.contacts.Sweep(ctx)
			require.NoError(s, err)
		}},
		{"statistics", 3, 200, func(h *heap) { s.stats(ctx, h.contacts) }},
		{"the dashboard's statistics (GET /api/v1/stats)", 3, 100, func(h *heap) {
			require.NotNil(s, s.get(ctx, h.admin+"/api/v1/stats"))
		}},
	}
	var rows []Row
	for _, q := range asks {
		var atSmall, atLarge []float64
		for range q.rounds {
			atSmall = append(atSmall, timed(q.n, func() { q.ask(small) })...)
			atLarge = append(atLarge, timed(q.n, func() { q.ask(large) })...)
		}
		a, b := median(atSmall), median(atLarge)
		rows = append(rows, Row{
			What: q.what + ", the largest size against the smallest", Value: b / a, Sense: AtMost, Bound: 1.2,
			Note: fmt.Sprintf("%s against %s", figure(b, "ms"), figure(a, "ms")),
		})
	}
	return rows
}
