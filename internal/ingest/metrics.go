package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"spillway/internal/contact"
)

type metrics struct {
	webhooks *prometheus.CounterVec
	kept     [contact.Add + 1]struct{ accepted, coalesced prometheus.Counter } // of webhooks, by action
	duration prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer, site string) *metrics {
	auto := promauto.With(registerer)
	m := &metrics{
		webhooks: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "spillway_webhooks_received_total",
			Help: "Webhooks by action (none: of a refused one) and outcome: accepted, coalesced, test, or the code of the refusal.",
			// A process takes the webhooks of one site.
			ConstLabels: prometheus.Labels{"site": site},
		}, []string{"action", "outcome"}),
		duration: auto.NewHistogram(prometheus.HistogramOpts{
			Name:    "spillway_webhook_duration_seconds",
			Help:    "Time from a webhook's headers to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
	}
	// A rate needs a series that was there before the first event.
	for _, action := range []contact.Action{contact.UpdateTags, contact.Update, contact.Add} {
		m.kept[action].accepted = m.webhooks.WithLabelValues(action.String(), "accepted")
		m.kept[action].coalesced = m.webhooks.WithLabelValues(action.String(), "coalesced")
	}
	m.webhooks.WithLabelValues("none", "invalid_access_key")
	m.webhooks.WithLabelValues("none", "too_many_failures")
	m.webhooks.WithLabelValues("none", "unavailable")
	return m
}

func (m *metrics) observe(o outcome, took time.Duration) {
	m.counter(o).Inc()
	m.duration.Observe(took.Seconds())
}

func (m *metrics) counter(o outcome) prometheus.Counter {
	switch {
	case o.refusal != nil || o.hook.Test:
		return m.webhooks.WithLabelValues(o.action(), o.result())
	case o.coalesced:
		return m.kept[o.hook.Intent.Action].coalesced
	default:
		return m.kept[o.hook.Intent.Action].accepted
	}
}
