package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	webhooks *prometheus.CounterVec
	duration prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	auto := promauto.With(registerer)
	m := &metrics{
		webhooks: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "spillway_webhooks_total",
			Help: "Webhooks by result: accepted, coalesced, test, or the code of the refusal.",
		}, []string{"result"}),
		duration: auto.NewHistogram(prometheus.HistogramOpts{
			Name:    "spillway_webhook_duration_seconds",
			Help:    "Time from a webhook's headers to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
	}
	// A rate needs a series that was there before the first event.
	for _, result := range []string{"accepted", "coalesced", "invalid_access_key", "too_many_failures", "unavailable"} {
		m.webhooks.WithLabelValues(result)
	}
	return m
}

func (m *metrics) observe(result string, took time.Duration) {
	m.webhooks.WithLabelValues(result).Inc()
	m.duration.Observe(took.Seconds())
}
