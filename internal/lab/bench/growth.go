package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/lab/pendingtest"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
	"spillway/internal/pending/shard"
)

// firstID is the first contact of the growth runs.
const firstID = 100_000_000

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
	require.NoError(s, pendingtest.Fill(ctx, contacts, firstID+1-pendingtest.FirstID, size-1), "making contacts pending")
	h.perEach = (s.usedMemory(ctx, rdb) - before) / float64(size-1)
	h.filled = time.Now()
	stats := s.stats(ctx, contacts)
	require.EqualValues(s, size, stats.Pending, "contacts that were made pending")
	ingest, webhooks, admin := s.ingest(ctx, server.URL(), nil)
	h.admin = "http://" + admin
	h.side = &side{name: fmt.Sprintf("%d pending", size), process: ingest, addr: webhooks, memory: h.admin + "/metrics"}
	return h
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
	due := shard.Prefix(small.contacts.Queues()[0]) + "due"
	asks := []struct {
		what      string
		rounds, n int
		ask       func(h *heap)
		before    func(h *heap)
	}{
		{"one sweep of 1000 contacts", 5, 1, func(h *heap) {
			_, err := h.contacts.Sweep(ctx)
			require.NoError(s, err)
		}, func(h *heap) {
			if h == small { // a swept contact is left alone for a while, and it has no others
				require.NoError(s, h.rdb.ZUnionStore(ctx, due, &redis.ZStore{Keys: []string{due}, Weights: []float64{0}}).Err())
			}
		}},
		{"statistics", 3, 200, func(h *heap) { s.stats(ctx, h.contacts) }, func(*heap) {}},
		{"the dashboard's statistics (GET /api/v1/stats)", 3, 100, func(h *heap) {
			require.NotNil(s, s.get(ctx, h.admin+"/api/v1/stats"))
		}, func(*heap) {}},
	}
	var rows []Row
	for _, q := range asks {
		var atSmall, atLarge []float64
		for range q.rounds {
			q.before(small)
			q.before(large)
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
