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
	duration prometheus.Histogram
	waited   prometheus.Histogram
	revived  prometheus.Counter
	lost     prometheus.Counter
	yielded  prometheus.Counter

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

func newMetrics(registerer prometheus.Registerer, underWay func() int) *metrics {
	factory := promauto.With(registerer)
	seconds := []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200}
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "spillway_passes_under_way", Help: "Passes that this worker is running.",
	}, func() float64 { return float64(underWay()) })
	return &metrics{
		codes: make(map[string]bool),
		passes: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "spillway_passes_total", Help: "Passes over contacts by action, by outcome (synced, retrying or parked) and by code: what the site did, or the error's.",
		}, []string{"action", "outcome", "code"}),
		duration: factory.NewHistogram(prometheus.HistogramOpts{
			Name: "spillway_pass_duration_seconds", Help: "Time of one pass.", Buckets: seconds,
		}),
		waited: factory.NewHistogram(prometheus.HistogramOpts{
			Name: "spillway_time_to_sync_seconds", Help: "Time from a contact's first outstanding webhook to its sync.", Buckets: seconds,
		}),
		revived: factory.NewCounter(prometheus.CounterOpts{
			Name: "spillway_wakeups_revived_total", Help: "Contacts whose wake-up was lost and made anew by this worker's sweep.",
		}),
		lost: factory.NewCounter(prometheus.CounterOpts{
			Name: "spillway_claims_lost_total", Help: "Passes that ended after their lock; another pass followed each.",
		}),
		yielded: factory.NewCounter(prometheus.CounterOpts{
			Name: "spillway_passes_yielded_total", Help: "Passes that the CRM's limit cut off; their contacts went back to the front of the queue, with no failure counted.",
		}),
	}
}

func (m *metrics) observe(event history.Event) {
	code := event.Code
	if event.Kind == history.Synced {
		code = event.Outcome
		m.waited.Observe((time.Duration(event.Waited) * time.Millisecond).Seconds())
	}
	m.passes.WithLabelValues(event.Action, event.Kind, m.bounded(code)).Inc()
	m.duration.Observe((time.Duration(event.Took) * time.Millisecond).Seconds())
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
