package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"spillway/internal/throttle"
)

// CreationCounts counts the users that were created, and those held back.
type CreationCounts interface {
	Counts(ctx context.Context) (throttle.CreationCounts, error)
}

type creations struct {
	counts shared[map[string]throttle.CreationCounts] // by site
	made   *prometheus.Desc
	held   *prometheus.Desc
}

// Creations returns how the creation limit of each site stands.
func Creations(sites func() map[string]CreationCounts) prometheus.Collector {
	return &creations{
		counts: shared[map[string]throttle.CreationCounts]{read: func(ctx context.Context) (map[string]throttle.CreationCounts, error) {
			return ofEach(ctx, sites(), CreationCounts.Counts)
		}},
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
	all, err := c.counts.get()
	if err != nil {
		return
	}
	for site, counts := range all {
		out <- prometheus.MustNewConstMetric(c.made, prometheus.GaugeValue, float64(counts.Made), site)
		out <- prometheus.MustNewConstMetric(c.held, prometheus.GaugeValue, float64(counts.Held), site)
	}
}
