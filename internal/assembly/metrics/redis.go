package metrics

import (
	"context"
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"spillway/internal/redisconn"
)

// memory is what INFO tells of one server, or of the masters of a cluster.
type memory struct {
	known                  bool // false: the server does not permit INFO
	used, limit            float64
	evicted                float64
	evicts, appends, wrote bool
}

type server struct {
	memory                       shared[memory]
	up, used, limit, evicted     *prometheus.Desc
	evicts, appends, appendsWell *prometheus.Desc
}

// Redis returns the state of the Redis behind a client. Of a cluster it is that
// of the master that is closest to its limit, and the sum of the evicted keys.
func Redis(rdb redis.UniversalClient) prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("spillway_redis_"+name, help+" The same from every replica.", nil, nil)
	}
	return &server{
		memory:      shared[memory]{read: func(ctx context.Context) (memory, error) { return readMemory(ctx, rdb) }},
		up:          desc("up", "1 if Redis answers, each master of a cluster."),
		used:        desc("memory_used_bytes", "Memory that Redis uses."),
		limit:       desc("memory_limit_bytes", "Redis's maxmemory, or the memory of its machine if it has none."),
		evicted:     desc("evicted_keys_total", "Keys that Redis dropped for want of memory: each may be a webhook that was acknowledged."),
		evicts:      desc("evicts", "1 if Redis's maxmemory-policy lets it drop keys."),
		appends:     desc("append_only", "1 if Redis keeps an append-only file."),
		appendsWell: desc("append_only_ok", "1 if the last write to the append-only file succeeded."),
	}
}

// Describe implements [prometheus.Collector].
func (s *server) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{s.up, s.used, s.limit, s.evicted, s.evicts, s.appends, s.appendsWell} {
		descs <- desc
	}
}

// Collect implements [prometheus.Collector].
func (s *server) Collect(out chan<- prometheus.Metric) {
	m, err := s.memory.get()
	gauge := func(desc *prometheus.Desc, value float64) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	gauge(s.up, truth(err == nil))
	if err != nil || !m.known {
		return
	}
	gauge(s.used, m.used)
	gauge(s.limit, m.limit)
	gauge(s.evicts, truth(m.evicts))
	gauge(s.appends, truth(m.appends))
	gauge(s.appendsWell, truth(m.wrote))
	out <- prometheus.MustNewConstMetric(s.evicted, prometheus.CounterValue, m.evicted)
}

func readMemory(ctx context.Context, rdb redis.UniversalClient) (memory, error) {
	var mu sync.Mutex
	all := memory{appends: true, wrote: true}
	err := redisconn.EachMaster(ctx, rdb, func(ctx context.Context, node redis.Cmdable) error {
		one, err := readNode(ctx, node)
		mu.Lock()
		defer mu.Unlock()
		if !all.known || one.used*all.limit > all.used*one.limit {
			all.used, all.limit = one.used, one.limit
		}
		all.known = all.known || one.known
		all.evicted += one.evicted
		all.evicts = all.evicts || one.evicts
		all.appends, all.wrote = all.appends && one.appends, all.wrote && one.wrote
		return err
	})
	return all, err
}

func readNode(ctx context.Context, rdb redis.Cmdable) (memory, error) {
	info, err := redisconn.ReadInfo(ctx, rdb)
	var refused redis.Error
	if errors.As(err, &refused) {
		return memory{}, rdb.Ping(ctx).Err() // it answers, and that is all that it tells
	}
	if err != nil {
		return memory{}, err
	}
	m := memory{
		known: info["used_memory"] != "", evicted: info.Number("evicted_keys"), evicts: info["maxmemory_policy"] != "noeviction",
		appends: info["aof_enabled"] == "1", wrote: info["aof_last_write_status"] == "ok",
	}
	m.used, m.limit = info.Memory()
	return m, nil
}
