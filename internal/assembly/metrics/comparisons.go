package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"spillway/internal/admin/comparisons"
)

type compared struct {
	last                        shared[[]comparisons.Comparison]
	differences, before, at, no *prometheus.Desc
}

// Comparisons returns what the last comparison of each site with its CRM found;
// read returns those there are.
func Comparisons(read func(ctx context.Context) ([]comparisons.Comparison, error)) prometheus.Collector {
	return &compared{
		last: shared[[]comparisons.Comparison]{read: read},
		differences: prometheus.NewDesc("spillway_reconcile_differences",
			"Contacts that differed between the CRM and the site at the last comparison, by kind. The same from every replica.", []string{"site", "kind"}, nil),
		before: prometheus.NewDesc("spillway_reconcile_differences_before",
			"The same at the comparison before; missing if there was none.", []string{"site", "kind"}, nil),
		at: prometheus.NewDesc("spillway_reconcile_last_timestamp_seconds",
			"When the last comparison ended, in seconds since 1970; missing before the first. The same from every replica.", []string{"site"}, nil),
		no: prometheus.NewDesc("spillway_reconcile_failed",
			"1 if the newest comparison did not come to its end. The same from every replica.", []string{"site"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *compared) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.differences, c.before, c.at, c.no} {
		descs <- desc
	}
}

// Collect implements [prometheus.Collector].
func (c *compared) Collect(out chan<- prometheus.Metric) {
	all, err := c.last.get()
	if err != nil {
		return
	}
	for _, last := range all {
		for kind, n := range last.Differences {
			out <- prometheus.MustNewConstMetric(c.differences, prometheus.GaugeValue, float64(n), last.Site, kind)
		}
		for kind, n := range last.Before {
			out <- prometheus.MustNewConstMetric(c.before, prometheus.GaugeValue, float64(n), last.Site, kind)
		}
		if !last.Ended.IsZero() {
			out <- prometheus.MustNewConstMetric(c.at, prometheus.GaugeValue, float64(last.Ended.Unix()), last.Site)
		}
		out <- prometheus.MustNewConstMetric(c.no, prometheus.GaugeValue, truth(last.Failure != ""), last.Site)
	}
}
