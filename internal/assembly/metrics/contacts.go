package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"spillway/internal/pending"
)

// Stats counts the contacts with outstanding work.
type Stats interface {
	Stats(ctx context.Context) (pending.Stats, error)
}

type contacts struct {
	stats  shared[map[string]pending.Stats] // by site
	states *prometheus.Desc
	events *prometheus.Desc
	oldest *prometheus.Desc
	paused *prometheus.Desc
	last   *prometheus.Desc
}

// Contacts returns the contacts of each site by state, and what happened since
// Redis was empty.
func Contacts(sites func() map[string]Stats) prometheus.Collector {
	site := []string{"site"}
	return &contacts{
		stats: shared[map[string]pending.Stats]{read: func(ctx context.Context) (map[string]pending.Stats, error) {
			return ofEach(ctx, sites(), Stats.Stats)
		}},
		states: prometheus.NewDesc("spillway_pending_contacts",
			"Contacts with outstanding work by state: pending, active, retrying or parked. The same from every replica.", []string{"site", "state"}, nil),
		events: prometheus.NewDesc("spillway_events_total",
			"Webhooks received and coalesced, passes synced and failed, over all replicas. The same from every replica.", []string{"site", "event"}, nil),
		oldest: prometheus.NewDesc("spillway_oldest_pending_seconds",
			"How long the contact has been waiting that waits longest, parked ones aside; 0 if none waits. The same from every replica.", site, nil),
		paused: prometheus.NewDesc("spillway_paused", "1 while the operator has paused the passes. The same from every replica.", site, nil),
		last: prometheus.NewDesc("spillway_last_webhook_timestamp_seconds",
			"When the newest webhook was recorded, in seconds since 1970 by Redis's clock; missing before the first. The same from every replica.",
			site, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *contacts) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.states
	descs <- c.events
	descs <- c.oldest
	descs <- c.paused
	descs <- c.last
}

// Collect implements [prometheus.Collector].
func (c *contacts) Collect(out chan<- prometheus.Metric) {
	all, err := c.stats.get()
	if err != nil {
		return
	}
	for site, stats := range all {
		c.collect(out, site, stats)
	}
}

func (c *contacts) collect(out chan<- prometheus.Metric, site string, stats pending.Stats) {
	age := 0.0
	if !stats.Oldest.IsZero() {
		// Redis's clock and this machine's may differ.
		age = max(0, time.Since(stats.Oldest).Seconds())
	}
	out <- prometheus.MustNewConstMetric(c.oldest, prometheus.GaugeValue, age, site)
	out <- prometheus.MustNewConstMetric(c.paused, prometheus.GaugeValue, truth(stats.Paused), site)
	if at := stats.LastWebhook; !at.IsZero() {
		out <- prometheus.MustNewConstMetric(c.last, prometheus.GaugeValue, float64(at.UnixMilli())/1000, site)
	}
	for state, n := range map[pending.State]int64{
		pending.Pending: stats.Pending, pending.Active: stats.Active, pending.Retrying: stats.Retrying, pending.Parked: stats.Parked,
	} {
		out <- prometheus.MustNewConstMetric(c.states, prometheus.GaugeValue, float64(n), site, string(state))
	}
	for event, n := range map[string]int64{
		"received": stats.Received, "coalesced": stats.Coalesced, "synced": stats.Synced, "failed": stats.Failed,
	} {
		out <- prometheus.MustNewConstMetric(c.events, prometheus.CounterValue, float64(n), site, event)
	}
}
