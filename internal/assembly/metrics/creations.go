package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"spillway/internal/throttle"
)

// Creations counts the users that were created, and those held back.
type Creations interface {
	Counts(ctx context.Context) (throttle.CreationCounts, error)
}

type creations struct {
	site   string
	counts shared[throttle.CreationCounts]
	made   *prometheus.Desc
	held   *prometheus.Desc
}

// NewCreations returns how a site's creation limit stands.
func NewCreations(site string, from Creations) prometheus.Collector {
	return &creations{
		site: site, counts: shared[throttle.CreationCounts]{read: from.Counts},
		made: prometheus.NewDesc("spillway_creations_last_hour",
			"Users that were created within the last hour, counted while there is a limit. The same from every replica.", []string{"site"}, nil),
		held: prometheus.NewDesc("spillway_creations_held",
			"Contacts that are parked since the creation limit was reached. The same from every replica.", []string{"site"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *creations) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.made
	descs <- c.held
}

// Collect implements [prometheus.Collector].
func (c *creations) Collect(out chan<- prometheus.Metric) {
	counts, err := c.counts.get()
	if err != nil {
		return
	}
	out <- prometheus.MustNewConstMetric(c.made, prometheus.GaugeValue, float64(counts.Made), c.site)
	out <- prometheus.MustNewConstMetric(c.held, prometheus.GaugeValue, float64(counts.Held), c.site)
}
