package worker

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/rs/zerolog"

	"spillway/internal/pending/history"
)

type metrics struct {
	passes   *prometheus.CounterVec
	duration *prometheus.HistogramVec
	waited   *prometheus.HistogramVec
	revived  *prometheus.CounterVec
	lost     *prometheus.CounterVec
	yielded  *prometheus.CounterVec

	mu    sync.Mutex
	codes map[string]bool
}

// maxCodes bounds the codes that become series. The site's plugins may answer
// with codes of their own.
const maxCodes = 50

// bounded returns the code, or "other" when too many were seen before it.
func (m *metrics) bounded(code string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.codes[code] && len(m.codes) >= maxCodes {
		return "other"
	}
	m.codes[code] = true
	return code
}

func newMetrics(registerer prometheus.Registerer, underWay func() map[string]int) *metrics {
	factory := promauto.With(registerer)
	seconds := []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200}
	if registerer != nil {
		registerer.MustRegister(&passesUnderWay{underWay})
	}
	site := []string{"site"}
	return &metrics{
		codes: make(map[string]bool),
		passes: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "spillway_passes_total", Help: "Passes over contacts by action, by outcome (synced, retrying or parked) and by code: what the site did, or the error's.",
		}, []string{"site", "action", "outcome", "code"}),
		duration: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name: "spillway_pass_duration_seconds", Help: "Time of one pass.", Buckets: seconds,
		}, site),
		waited: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name: "spillway_time_to_sync_seconds", Help: "Time from a contact's first outstanding webhook to its sync.", Buckets: seconds,
		}, site),
		revived: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "spillway_wakeups_revived_total", Help: "Contacts whose wake-up was lost and made anew by this worker's sweep.",
		}, site),
		lost: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "spillway_claims_lost_total", Help: "Passes that ended after their lock; another pass followed each.",
		}, site),
		yielded: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "spillway_passes_yielded_total", Help: "Passes that the CRM's limit cut off; their contacts went back to the front of the queue, with no failure counted.",
		}, site),
	}
}

// know makes the series of a site: a rate needs one that was there before the
// first event.
func (m *metrics) know(site string) {
	m.revived.WithLabelValues(site)
	m.lost.WithLabelValues(site)
	m.yielded.WithLabelValues(site)
	m.duration.WithLabelValues(site)
	m.waited.WithLabelValues(site)
}

// passesUnderWay collects how many passes run at the moment.
type passesUnderWay struct{ read func() map[string]int }

func (p *passesUnderWay) desc() *prometheus.Desc {
	return prometheus.NewDesc("spillway_passes_under_way", "Passes that this worker is running.", []string{"site"}, nil)
}

// Describe implements [prometheus.Collector].
func (p *passesUnderWay) Describe(descs chan<- *prometheus.Desc) { descs <- p.desc() }

// Collect implements [prometheus.Collector].
func (p *passesUnderWay) Collect(out chan<- prometheus.Metric) {
	for site, n := range p.read() {
		out <- prometheus.MustNewConstMetric(p.desc(), prometheus.GaugeValue, float64(n), site)
	}
}

func (m *metrics) observe(site string, event history.Event) {
	code := event.Code
	switch event.Kind {
	case history.Observed:
		code = event.Outcome
	case history.Synced:
		code = event.Outcome
		m.waited.WithLabelValues(site).Observe((time.Duration(event.Waited) * time.Millisecond).Seconds())
	}
	m.passes.WithLabelValues(site, event.Action, event.Kind, m.bounded(code)).Inc()
	m.duration.WithLabelValues(site).Observe((time.Duration(event.Took) * time.Millisecond).Seconds())
}

// asynqLog writes asynq's own messages into the log. They hold task ids and
// Redis errors, no payloads.
type asynqLog struct{ log zerolog.Logger }

func (l asynqLog) write(event *zerolog.Event, args []any) {
	event.Str("component", "asynq").Msg(fmt.Sprint(args...))
}
func (l asynqLog) Debug(args ...any) { l.write(l.log.Debug(), args) }
func (l asynqLog) Info(args ...any)  { l.write(l.log.Info(), args) }
func (l asynqLog) Warn(args ...any)  { l.write(l.log.Warn(), args) }
func (l asynqLog) Error(args ...any) { l.write(l.log.Error(), args) }

// Fatal is called when asynq cannot start; Run's error says the same.
func (l asynqLog) Fatal(args ...any) { l.write(l.log.Error(), args) }
