package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"spillway/internal/throttle"
)

// Statuses tells how the CRM and the site are.
type Statuses interface {
	Read(ctx context.Context) ([]throttle.Status, error)
}

type systems struct {
	statuses shared[map[string][]throttle.Status] // by site
	state    *prometheus.Desc
	fact     *prometheus.Desc
}

// Systems returns the breakers' states, and the limits that are in force for
// the CRM and the site, of each site.
func Systems(sites func() map[string]Statuses) prometheus.Collector {
	return &systems{
		statuses: shared[map[string][]throttle.Status]{read: func(ctx context.Context) (map[string][]throttle.Status, error) {
			return ofEach(ctx, sites(), Statuses.Read)
		}},
		state: prometheus.NewDesc("spillway_breaker_state",
			"1 for the state that the breaker of the crm or the site is in: closed, open or half_open. The same from every replica.",
			[]string{"site", "system", "state"}, nil),
		fact: prometheus.NewDesc("spillway_system_fact",
			"A limit in force for the crm or the site, or what it follows, such as rate_per_second, batch, in_flight, latency_ms. The same from every replica.",
			[]string{"site", "system", "fact"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (s *systems) Describe(descs chan<- *prometheus.Desc) {
	descs <- s.state
	descs <- s.fact
}

// Collect implements [prometheus.Collector].
func (s *systems) Collect(out chan<- prometheus.Metric) {
	all, err := s.statuses.get()
	if err != nil {
		return
	}
	for site, statuses := range all {
		s.collect(out, site, statuses)
	}
}

func (s *systems) collect(out chan<- prometheus.Metric, site string, statuses []throttle.Status) {
	for _, status := range statuses {
		for _, state := range []string{"closed", "open", "half_open"} {
			out <- prometheus.MustNewConstMetric(s.state, prometheus.GaugeValue, truth(status.State == state), site, status.System, state)
		}
		for fact, value := range status.Facts {
			out <- prometheus.MustNewConstMetric(s.fact, prometheus.GaugeValue, value, site, status.System, fact)
		}
	}
}
