package dashboard

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"spillway/internal/pending"
)

// collector exposes the counters of Redis as metrics. They are the same from
// every replica: take the maximum over replicas, not the sum.
type collector struct {
	contacts *pending.Contacts
	states   *prometheus.Desc
	events   *prometheus.Desc
}

// NewCollector returns a collector of the contacts by state and of the
// counters since Redis was empty. While Redis is away it exposes nothing.
func NewCollector(contacts *pending.Contacts) prometheus.Collector {
	return &collector{
		contacts: contacts,
		states:   prometheus.NewDesc("spillway_contacts", "Contacts with outstanding work, by state; the same from every replica.", []string{"state"}, nil),
		events: prometheus.NewDesc("spillway_events_total",
			"Webhooks received and coalesced, passes synced and failed, of all replicas; the same from every replica.", []string{"event"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.states
	descs <- c.events
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	stats, err := c.contacts.Stats(ctx)
	if err != nil {
		return
	}
	for state, n := range map[pending.State]int64{
		pending.Pending: stats.Pending, pending.Active: stats.Active, pending.Retrying: stats.Retrying, pending.Parked: stats.Parked,
	} {
		metrics <- prometheus.MustNewConstMetric(c.states, prometheus.GaugeValue, float64(n), string(state))
	}
	for event, n := range map[string]int64{
		"received": stats.Received, "coalesced": stats.Coalesced, "synced": stats.Synced, "failed": stats.Failed,
	} {
		metrics <- prometheus.MustNewConstMetric(c.events, prometheus.CounterValue, float64(n), event)
	}
}
