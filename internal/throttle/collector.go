package throttle

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector exports the systems' statuses as metrics. They are the same on
// every replica: take the maximum, not the sum.
type Collector struct {
	statuses *Statuses
	state    *prometheus.Desc
	fact     *prometheus.Desc
}

// NewCollector returns a collector that reads Redis at each scrape.
func NewCollector(statuses *Statuses) *Collector {
	return &Collector{
		statuses: statuses,
		state: prometheus.NewDesc("spillway_breaker_state",
			"1 for the state that the circuit breaker of the system is in, else 0.", []string{"system", "state"}, nil),
		fact: prometheus.NewDesc("spillway_guard",
			"Limits in force and what they follow: rate_per_second, batch, pace_ms, in_flight, latency_ms, probe_ms, probe_baseline_ms.",
			[]string{"system", "fact"}, nil),
	}
}

// Describe is called by the registry.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	to <- c.state
	to <- c.fact
}

const scrapeTimeout = 2 * time.Second

// Collect is called by the registry. Without Redis it exports nothing.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	all, err := c.statuses.Read(ctx)
	if err != nil {
		return
	}
	for _, status := range all {
		for _, state := range []string{Closed, Open, HalfOpen} {
			value := 0.0
			if status.State == state {
				value = 1
			}
			to <- prometheus.MustNewConstMetric(c.state, prometheus.GaugeValue, value, status.System, state)
		}
		for fact, value := range status.Facts {
			to <- prometheus.MustNewConstMetric(c.fact, prometheus.GaugeValue, value, status.System, fact)
		}
	}
}
