package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"spillway/internal/contact"
)

type metrics struct {
	webhooks *prometheus.CounterVec
	duration prometheus.Histogram
	waits    *prometheus.CounterVec
	waited   prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer, waits *waits) *metrics {
	auto := promauto.With(registerer)
	m := &metrics{
		webhooks: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "spillway_webhooks_received_total",
			Help: "Webhooks by site (none: no key told it), action (none: of a refused one) and outcome: accepted, coalesced, test, or the code of the refusal.",
		}, []string{"site", "action", "outcome"}),
		duration: auto.NewHistogram(prometheus.HistogramOpts{
			Name:    "spillway_webhook_duration_seconds",
			Help:    "Time from a webhook's headers to the end of its answer, without its sender's wait for the pass.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		waits: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "spillway_webhook_waits_total",
			Help: "Senders that were ready to wait for the pass, by how that ended: synced, observed, parked, timeout, hung_up, stopping (ingest stopped), declined (the pass would not have come in time) or full (too many waited).",
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
	for _, end := range []string{endSynced, endObserved, endParked, endTimeout, endHungUp, endStopping, endDeclined, endFull} {
		m.waits.WithLabelValues(end)
	}
	return m
}

// know makes the series of a site: a rate needs one that was there before the
// first event.
func (m *metrics) know(site string) (kept [contact.Add + 1]struct{ accepted, coalesced prometheus.Counter }) {
	for _, action := range []contact.Action{contact.UpdateTags, contact.Update, contact.Add} {
		kept[action].accepted = m.webhooks.WithLabelValues(site, action.String(), "accepted")
		kept[action].coalesced = m.webhooks.WithLabelValues(site, action.String(), "coalesced")
	}
	m.webhooks.WithLabelValues(site, "none", "unavailable")
	return kept
}

// knowRefusals is the same for what has no accepted key.
func (m *metrics) knowRefusals(unknown string) {
	m.webhooks.WithLabelValues(unknown, "none", "invalid_access_key")
	m.webhooks.WithLabelValues(unknown, "none", "too_many_failures")
}

func (m *metrics) observe(o outcome, took time.Duration) {
	m.counter(o).Inc()
	m.duration.Observe(took.Seconds())
}

// waitEnded counts how a wait ended, or why there was none.
func (m *metrics) waitEnded(end string) { m.waits.WithLabelValues(end).Inc() }

func (m *metrics) counter(o outcome) prometheus.Counter {
	switch {
	case o.site == nil:
		return m.webhooks.WithLabelValues(o.unknown, o.action(), o.result())
	case o.refusal != nil || o.hook.Test:
		return m.webhooks.WithLabelValues(o.site.Name, o.action(), o.result())
	case o.coalesced:
		return o.site.kept[o.hook.Intent.Action].coalesced
	default:
		return o.site.kept[o.hook.Intent.Action].accepted
	}
}
