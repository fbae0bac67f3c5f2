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
	statuses shared[[]throttle.Status]
	state    *prometheus.Desc
	fact     *prometheus.Desc
}

// Systems returns the breakers' states, and the limits that are in force for
// the CRM and the site.
func Systems(from Statuses) prometheus.Collector {
	return &systems{
		statuses: shared[[]throttle.Status]{read: from.Read},
		state: prometheus.NewDesc("spillway_breaker_state",
			"1 for the state that the breaker of the crm or the site is in: closed, open or half_open. The same from every replica.",
			[]string{"system", "state"}, nil),
		fact: prometheus.NewDesc("spillway_system_fact",
			"A limit in force for the crm or the site, or what it follows, such as rate_per_second, batch, in_flight, latency_ms. The same from every replica.",
			[]string{"system", "fact"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (s *systems) Describe(descs chan<- *prometheus.Desc) {
	descs <- s.state
	descs <- s.fact
}

// Collect implements [prometheus.Collector].
func (s *systems) Collect(out chan<- prometheus.Metric) {
	statuses, err := s.statuses.get()
	if err != nil {
		return
	}
	for _, status := range statuses {
		for _, state := range []string{"closed", "open", "half_open"} {
			out <- prometheus.MustNewConstMetric(s.state, prometheus.GaugeValue, truth(status.State == state), status.System, state)
		}
		for fact, value := range status.Facts {
			out <- prometheus.MustNewConstMetric(s.fact, prometheus.GaugeValue, value, status.System, fact)
		}
	}
}
