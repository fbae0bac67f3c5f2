package bench

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
)

// connections is how many the CRM is taken to use at once in a burst.
const connections = 256

// hotContacts is how many contacts a burst of repeated edits goes to.
const hotContacts = 1000

// everySecond is how Redis writes its append-only file here.
func everySecond() []string { return []string{"--appendfsync", "everysec"} }

// side is one server under comparison, with what its rounds showed.
type side struct {
	name    string
	process *process
	addr    string
	memory  string // URL of its allocation counters
	redis   *redistest.Server

	rates, p50, p99   []float64
	cpu, loadCPU      []float64
	perWebhook        []float64 // µs of processor time: server and Redis
	inRedis           []float64 // µs of it in Redis
	allocations, size []float64
}

// round sends one load and keeps what it showed.
func (d *side) round(ctx context.Context, s *stage, l load) loaded {
	l.Addr = d.addr
	if d.redis != nil {
		s.flush(ctx, d.redis)
	}
	allocations, size := s.allocated(ctx, d.memory)
	busy, stored := cpu(d.process.pid()), s.redisCPU(ctx, d.redis)
	seen := s.send(ctx, l)
	busy, stored = cpu(d.process.pid())-busy, s.redisCPU(ctx, d.redis)-stored
	moreAllocations, moreSize := s.allocated(ctx, d.memory)
	count := float64(seen.Accepted)
	d.rates = append(d.rates, seen.PerSecond)
	d.p50 = append(d.p50, milliseconds(seen.P50))
	d.p99 = append(d.p99, milliseconds(seen.P99))
	d.cpu = append(d.cpu, busy.Seconds()/seen.Seconds)
	d.loadCPU = append(d.loadCPU, seen.CPU)
	d.perWebhook = append(d.perWebhook, (busy.Seconds()+stored)*1e6/count)
	d.inRedis = append(d.inRedis, stored*1e6/count)
	d.allocations = append(d.allocations, (moreAllocations-allocations)/count)
	d.size = append(d.size, (moreSize-size)/count)
	return seen
}

// forget drops what the rounds showed so far.
func (d *side) forget() {
	*d = side{name: d.name, process: d.process, addr: d.addr, memory: d.memory, redis: d.redis}
}

// flush empties a Redis: every round begins with the same.
func (s *stage) flush(ctx context.Context, server *redistest.Server) {
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close()
	require.NoError(s, rdb.FlushAll(ctx).Err())
}

// redisCPU is the processor time in seconds that a Redis has used, if there is
// one.
func (s *stage) redisCPU(ctx context.Context, server *redistest.Server) float64 {
	if server == nil {
		return 0
	}
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer rdb.Close()
	info, err := rdb.Info(ctx, "cpu").Result()
	require.NoError(s, err)
	info = strings.ReplaceAll(info, ":", " ")
	return sample(info, "used_cpu_user") + sample(info, "used_cpu_sys")
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// allocated reads how many objects and bytes a server has allocated so far.
func (s *stage) allocated(ctx context.Context, url string) (objects, bytes float64) {
	text := s.get(ctx, url)
	require.NotNil(s, text, "%s does not answer", url)
	return sample(string(text), "go_memstats_mallocs_total"), sample(string(text), "go_memstats_alloc_bytes_total")
}

// sample reads one value of Prometheus's text format.
func sample(text, name string) float64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err == nil {
				return value
			}
		}
	}
	return 0
}

// ingestRows compare ingest (c) with an echo handler that does nothing (a) and
// with one that enqueues a task per webhook (b). Ingest checks the key, counts,
// and coalesces besides.
func ingestRows(ctx context.Context, s *stage) []Row {
	plainRedis, ourRedis := redistest.Start(s, everySecond()...), redistest.Start(s, everySecond()...)
	echoProcess, echoAddr := s.contender(ctx, partEcho, "")
	plainProcess, plainAddr := s.contender(ctx, partEnqueue, plainRedis.Addr)
	ingest, webhooks, admin := s.ingest(ctx, ourRedis.URL(), nil)
	metrics := "http://" + admin + "/metrics"
	nothing := &side{name: "echo", process: echoProcess, addr: echoAddr, memory: "http://" + echoAddr + "/mallocs"}
	plain := &side{name: "echo and Enqueue", process: plainProcess, addr: plainAddr, memory: "http://" + plainAddr + "/mallocs", redis: plainRedis}
	unique := &side{name: "ingest", process: ingest, addr: webhooks, memory: metrics, redis: ourRedis}
	hot := &side{name: "ingest, hot contacts", process: ingest, addr: webhooks, memory: metrics, redis: ourRedis}
	sides := []*side{nothing, plain, unique, hot}

	lasts := pick(s, 3*time.Second, time.Second)
	loadOf := func(d *side) load {
		l := load{Connections: connections, Duration: lasts, First: 1}
		if d == hot {
			l.Spread = hotContacts
		}
		return l
	}
	for _, d := range sides {
		l := loadOf(d)
		l.Duration = 500 * time.Millisecond
		d.round(ctx, s, l) // connections, memory and code warm up
		d.forget()
	}
	for range pick(s, 4, 2) {
		for _, d := range sides {
			d.round(ctx, s, loadOf(d))
		}
	}
	for _, d := range sides {
		s.Logf("%s: %.0f/s, p50 %.1f ms, p99 %.1f ms, its cores %.2f, the generator's %.2f; processor time per webhook %.0f µs, %.0f of it in Redis",
			d.name, median(d.rates), median(d.p50), median(d.p99), median(d.cpu), median(d.loadCPU), median(d.perWebhook), median(d.inRedis))
	}
	rows := []Row{
		{
			What: "throughput against echo, every webhook another contact", Value: median(unique.rates) / median(nothing.rates), Sense: AtLeast, Bound: 0.60,
			Note: fmt.Sprintf("%.0f/s of %.0f/s, %d connections", median(unique.rates), median(nothing.rates), connections),
		},
		{
			What: "throughput against echo, 1,000 hot contacts", Value: median(hot.rates) / median(nothing.rates), Sense: AtLeast, Bound: 0.75,
			Note: fmt.Sprintf("%.0f/s", median(hot.rates)),
		},
		{
			What: "throughput against echo and a plain Enqueue", Value: median(unique.rates) / median(plain.rates), Sense: AtLeast, Bound: 1.5,
			Note: fmt.Sprintf("that one %.0f/s", median(plain.rates)),
		},
		{
			What: "99th percentile of acknowledgements against echo and Enqueue, as fast as each can", Value: median(unique.p99) / median(plain.p99), Sense: AtMost, Bound: 1,
			Note: fmt.Sprintf("%.1f ms against %.1f ms", median(unique.p99), median(plain.p99)),
		},
	}
	costs := []Row{
		{What: "allocations per webhook", Value: median(unique.allocations), Unit: "objects", Note: fmt.Sprintf("%.1f kB; hot contacts %.0f, echo %.0f, echo and Enqueue %.0f", median(unique.size)/1000, median(hot.allocations), median(nothing.allocations), median(plain.allocations))},
		{
			What: "processor time per webhook, ingest and Redis", Value: median(unique.perWebhook), Unit: "µs",
			Note: fmt.Sprintf("%.0f of it in Redis; hot contacts %.0f, echo %.0f, echo and Enqueue %.0f; the generator takes %.0f for each", median(unique.inRedis), median(hot.perWebhook), median(nothing.perWebhook), median(plain.perWebhook), 1e6*median(unique.loadCPU)/median(unique.rates)),
		},
		{What: "the generator's share of the processor", Value: median(unique.loadCPU), Unit: "cores", Note: fmt.Sprintf("ingest %.2f; while echo was measured %.2f, echo itself %.2f", median(unique.cpu), median(nothing.loadCPU), median(nothing.cpu))},
	}
	// The rounds of the offered load begin anew, so what these showed is
	// written down by now.
	rows = append(rows, offered(ctx, s, plain, unique, lasts)...)
	return append(rows, costs...)
}

// offered compares the two at one rate that both bear, half of what the slower
// one took.
func offered(ctx context.Context, s *stage, plain, unique *side, lasts time.Duration) []Row {
	rate := median(plain.rates) / 2
	plain.forget()
	unique.forget()
	for range pick(s, 3, 1) {
		for _, d := range []*side{plain, unique} {
			d.round(ctx, s, load{Connections: connections, Duration: lasts, Rate: rate, First: 1})
		}
	}
	return []Row{{
		What: "99th percentile of acknowledgements against echo and Enqueue, the same load offered", Value: median(unique.p99) / median(plain.p99), Sense: AtMost, Bound: 1,
		Note: fmt.Sprintf("%.1f ms against %.1f ms at %.0f/s; medians %.1f ms and %.1f ms", median(unique.p99), median(plain.p99), rate, median(unique.p50), median(plain.p50)),
	}}
}
