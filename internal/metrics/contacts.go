package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"spillway/internal/pending"
)

// Stats counts the contacts with outstanding work.
type Stats interface {
	Stats(ctx context.Context) (pending.Stats, error)
}

type contacts struct {
	stats  shared[pending.Stats]
	states *prometheus.Desc
	events *prometheus.Desc
}

// Contacts returns the contacts by state, and what happened since Redis was
// empty.
func Contacts(from Stats) prometheus.Collector {
	return &contacts{
		stats: shared[pending.Stats]{read: from.Stats},
		states: prometheus.NewDesc("spillway_pending_contacts",
			"Contacts with outstanding work by state: pending, active, retrying or parked. The same from every replica.", []string{"state"}, nil),
		events: prometheus.NewDesc("spillway_events_total",
			"Webhooks received and coalesced, passes synced and failed, over all replicas. The same from every replica.", []string{"event"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *contacts) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.states
	descs <- c.events
}

// Collect implements [prometheus.Collector].
func (c *contacts) Collect(out chan<- prometheus.Metric) {
	stats, err := c.stats.get()
	if err != nil {
		return
	}
	for state, n := range map[pending.State]int64{
		pending.Pending: stats.Pending, pending.Active: stats.Active, pending.Retrying: stats.Retrying, pending.Parked: stats.Parked,
	} {
		out <- prometheus.MustNewConstMetric(c.states, prometheus.GaugeValue, float64(n), string(state))
	}
	for event, n := range map[string]int64{
		"received": stats.Received, "coalesced": stats.Coalesced, "synced": stats.Synced, "failed": stats.Failed,
	} {
		out <- prometheus.MustNewConstMetric(c.events, prometheus.CounterValue, float64(n), event)
	}
}
