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
	waits    *prometheus.CounterVec
	waited   prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer, site string, waits *waits) *metrics {
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
			Help:    "Time from a webhook's headers to the end of its answer, without its sender's wait for the pass.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		waits: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "spillway_webhook_waits_total",
			Help: "Senders that were ready to wait for the pass, by how that ended: synced, parked, timeout, hung_up, stopping (ingest stopped), declined (the pass would not have come in time) or full (too many waited).",
		}, []string{"end"}),
		waited: auto.NewHistogram(prometheus.HistogramOpts{
			Name:    "spillway_webhook_wait_seconds",
			Help:    "Time that a sender waited for the pass.",
			Buckets: []float64{.1, .25, .5, 1, 2, 4, 8, 15, 30},
		}),
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "spillway_webhooks_waiting", Help: "Senders that wait for the pass now; SPILLWAY_ANSWER_WAITERS bounds them.",
	}, func() float64 { return float64(waits.taken.Load()) })
	// A rate needs a series that was there before the first event.
	for _, action := range []contact.Action{contact.UpdateTags, contact.Update, contact.Add} {
		m.kept[action].accepted = m.webhooks.WithLabelValues(action.String(), "accepted")
		m.kept[action].coalesced = m.webhooks.WithLabelValues(action.String(), "coalesced")
	}
	for _, end := range []string{endSynced, endParked, endTimeout, endHungUp, endStopping, endDeclined, endFull} {
		m.waits.WithLabelValues(end)
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

// waitEnded counts how a wait ended, or why there was none.
func (m *metrics) waitEnded(end string) { m.waits.WithLabelValues(end).Inc() }

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
