package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

type pools struct {
	clients                       map[string]redis.UniversalClient
	connections                   *prometheus.Desc
	hits, misses, timeouts, stale *prometheus.Desc
}

// Pools returns the connection pools of this process's Redis clients, named by
// what they are for.
func Pools(clients map[string]redis.UniversalClient) prometheus.Collector {
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc("spillway_redis_pool_"+name, help, append([]string{"client"}, more...), nil)
	}
	return &pools{
		clients:     clients,
		connections: desc("connections", "Connections to Redis, idle or in use.", "state"),
		hits:        desc("hits_total", "Times that a free connection was there."),
		misses:      desc("misses_total", "Times that a new connection was needed."),
		timeouts:    desc("timeouts_total", "Times that no connection was to be had in time."),
		stale:       desc("stale_connections_total", "Connections that were thrown away."),
	}
}

// Describe implements [prometheus.Collector].
func (p *pools) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{p.connections, p.hits, p.misses, p.timeouts, p.stale} {
		descs <- desc
	}
}

// Collect implements [prometheus.Collector].
func (p *pools) Collect(out chan<- prometheus.Metric) {
	for name, client := range p.clients {
		stats := client.PoolStats()
		idle, all := float64(stats.IdleConns), float64(stats.TotalConns)
		out <- prometheus.MustNewConstMetric(p.connections, prometheus.GaugeValue, idle, name, "idle")
		out <- prometheus.MustNewConstMetric(p.connections, prometheus.GaugeValue, max(0, all-idle), name, "in_use")
		for desc, n := range map[*prometheus.Desc]uint32{
			p.hits: stats.Hits, p.misses: stats.Misses, p.timeouts: stats.Timeouts, p.stale: stats.StaleConns,
		} {
			out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), name)
		}
	}
}
