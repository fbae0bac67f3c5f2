package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
)

// scaleRows measure a Redis of several machines: what a master's failure costs
// under Sentinel, and what a Cluster takes off one node.
func scaleRows(ctx context.Context, s *stage) []Row {
	return append(failoverRows(ctx, s), clusterRows(ctx, s)...)
}

const (
	failoverRate = 200             // webhooks a second while a master fails
	failoverLead = 2 * time.Second // before it does, and after it was replaced
)

// failover is what senders saw of one master's failure.
type failover struct {
	refused float64 // webhooks
	span    float64 // s between the first and the last of them
	lost    float64 // acknowledged webhooks of which the new master knows nothing
	sent    int
}

func failoverRows(ctx context.Context, s *stage) []Row {
	var refused, spans, lost []float64
	sent := 0
	for range pick(s, 3, 1) {
		f := s.failover(ctx)
		refused, spans, lost = append(refused, f.refused), append(spans, f.span), append(lost, f.lost)
		sent += f.sent
	}
	slices.Sort(spans)
	down := redistest.DownAfter.Seconds()
	return []Row{
		{
			What: "Sentinel: time for which webhooks are refused when the master is killed, against down-after-milliseconds", Value: median(spans) / down,
			Note: fmt.Sprintf("median of %d failures %.1f s, %.1f to %.1f s; here the Sentinels hold a master for down after %.0f s, by default after 30 s", len(spans), median(spans), spans[0], spans[len(spans)-1], down),
		},
		{
			What: "Sentinel: webhooks refused (503) in that time", Value: median(refused), Unit: "webhooks",
			Note: fmt.Sprintf("%d are sent a second, none again", failoverRate),
		},
		{
			What: "Sentinel: acknowledged webhooks that the new master does not have, in the worst failure", Value: slices.Max(lost), Unit: "webhooks",
			Note: fmt.Sprintf("%d sent in all; replication is asynchronous", sent),
		},
	}
}

// failover sends webhooks at a steady rate, kills the master, and goes on until
// its replica has been master for a while.
func (s *stage) failover(ctx context.Context) failover {
	set := redistest.StartSentinel(s, everySecond()...)
	ingest, webhooks, _ := s.ingest(ctx, set.URL(), nil)
	defer ingest.stop()
	sender := steady{url: "http://" + webhooks + "/", webhooks: make(map[int]sentWebhook), client: &http.Client{
		Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: connections},
	}}
	sending, stop := context.WithCancel(ctx)
	var senders sync.WaitGroup
	senders.Go(func() { sender.send(sending) })
	s.Cleanup(func() { stop(); senders.Wait() }) // also when a requirement fails
	s.rest(ctx, failoverLead)
	set.Master.Kill()
	set.AwaitPromotion()
	s.eventually(ctx, time.Minute, 20*time.Millisecond, "no webhook is taken after the failure", func() bool {
		return sender.taken(time.Now().Add(-time.Second))
	})
	s.rest(ctx, failoverLead)
	stop()
	senders.Wait()
	sender.client.CloseIdleConnections()

	contacts := pending.New(set.Client(), pending.Options{})
	f := failover{sent: len(sender.webhooks)}
	var first, last time.Time
	for id, w := range sender.webhooks {
		if !w.accepted {
			f.refused++
			if first.IsZero() || w.sent.Before(first) {
				first = w.sent
			}
			if w.sent.After(last) {
				last = w.sent
			}
			continue
		}
		record, err := contacts.Lookup(ctx, contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(id)})
		require.NoError(s, err)
		if record.State == pending.Idle {
			f.lost++
		}
	}
	f.span = last.Sub(first).Seconds()
	s.Logf("a master failed: %.0f of %d webhooks refused within %.1f s, %.0f acknowledged ones lost", f.refused, f.sent, f.span, f.lost)
	return f
}

// steady sends webhooks at a fixed rate, each of another contact and each once,
// whatever becomes of those before.
type steady struct {
	url    string
	client *http.Client

	mu       sync.Mutex
	webhooks map[int]sentWebhook // by contact
}

type sentWebhook struct {
	sent     time.Time
	accepted bool
}

func (s *steady) send(ctx context.Context) {
	due := time.NewTicker(time.Second / failoverRate)
	defer due.Stop()
	var under sync.WaitGroup
	defer under.Wait()
	for id := 1; ; id++ {
		select {
		case <-ctx.Done():
			return
		case <-due.C:
		}
		under.Go(func() {
			w := sentWebhook{sent: time.Now()}
			w.accepted = s.one(id)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.webhooks[id] = w
		})
	}
}

// one reports whether a webhook was acknowledged.
func (s *steady) one(id int) bool {
	query := url.Values{"wpf_action": {"update"}, "access_key": {accessKey}, "contact_id": {strconv.Itoa(id)}}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.url+"?"+query.Encode(), nil)
	if err != nil {
		return false
	}
	response, err := s.client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err == nil && response.StatusCode/100 == 2
}

// taken reports whether a webhook that was sent after a time was acknowledged.
func (s *steady) taken(after time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.webhooks {
		if w.accepted && w.sent.After(after) {
			return true
		}
	}
	return false
}

// clusterQueues is how many queues the Cluster has: three of them lie on three
// masters with equal shares of the slots.
const clusterQueues = 3

// spread is a Redis, of one node or several, with the ingest that writes to it.
type spread struct {
	addr  string
	nodes []*redistest.Server // masters
	rates []float64           // webhooks a second
	// Processor time in µs per webhook: of the busiest node, of all.
	busiest, all []float64
}

func clusterRows(ctx context.Context, s *stage) []Row {
	// Every master has a replica, in both.
	one, cluster := redistest.StartSentinel(s, everySecond()...).Master, redistest.StartCluster(s, everySecond()...)
	start := func(redisURL string, queues int, nodes ...*redistest.Server) *spread {
		_, webhooks, _ := s.ingest(ctx, redisURL, map[string]string{"SPILLWAY_QUEUES": strconv.Itoa(queues)})
		return &spread{addr: webhooks, nodes: nodes}
	}
	single, many := start(one.URL(), 1, one), start(cluster.URL(), clusterQueues, cluster.Masters...)
	lasts := pick(s, 3*time.Second, time.Second)
	for round := range 1 + pick(s, 4, 2) {
		for _, d := range []*spread{single, many} {
			d.round(ctx, s, lasts)
			if round == 0 { // connections, memory and code warm up
				d.rates, d.busiest, d.all = nil, nil, nil
			}
		}
	}
	return []Row{
		{
			What: "Cluster of three masters: processor time of the busiest master per webhook against one Redis's", Value: median(many.busiest) / median(single.busiest),
			Note: fmt.Sprintf("%.1f µs against %.1f µs; the three take %.1f µs together; each master has a replica; %d queues", median(many.busiest), median(single.busiest), median(many.all), clusterQueues),
		},
		{
			What: "Cluster of three masters: webhooks a second against one Redis", Value: median(many.rates) / median(single.rates),
			Note: fmt.Sprintf("%.0f/s against %.0f/s; %d cores carry all nodes, ingest and the load: this shows what a Cluster costs, not what it gains", median(many.rates), median(single.rates), runtime.NumCPU()),
		},
	}
}

// round sends webhooks as fast as they are taken, every one of another contact.
func (d *spread) round(ctx context.Context, s *stage, lasts time.Duration) {
	before := make([]float64, len(d.nodes))
	for i, node := range d.nodes {
		// A Cluster may have made another node master.
		require.Contains(s, s.info(ctx, node, "replication"), "role:master")
		s.flush(ctx, node)
		before[i] = s.redisCPU(ctx, node)
	}
	seen := s.send(ctx, load{Addr: d.addr, Connections: connections, Duration: lasts, First: 1})
	var used []float64
	all := 0.0
	for i, node := range d.nodes {
		each := (s.redisCPU(ctx, node) - before[i]) * 1e6 / float64(seen.Accepted)
		used = append(used, each)
		all += each
	}
	d.rates = append(d.rates, seen.PerSecond)
	d.busiest = append(d.busiest, slices.Max(used))
	d.all = append(d.all, all)
	s.Logf("%d masters: %.0f/s, processor time per webhook %s µs", len(d.nodes), seen.PerSecond, join(used))
}

func (s *stage) info(ctx context.Context, node *redistest.Server, section string) string {
	rdb := redis.NewClient(&redis.Options{Addr: node.Addr})
	defer rdb.Close()
	text, err := rdb.Info(ctx, section).Result()
	require.NoError(s, err)
	return text
}

func join(values []float64) string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = figure(value, "")
	}
	return strings.Join(texts, ", ")
}
