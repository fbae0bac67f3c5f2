package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"spillway/internal/pulse"
	"spillway/internal/site"
)

// callSeconds reach to the time-outs of both clients.
func callSeconds() []float64 {
	return []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25}
}

// CRMCalls returns what counts the calls of a CRM's client, for its Observe.
func CRMCalls(registerer prometheus.Registerer) func(pulse.Call) {
	auto := promauto.With(registerer)
	requests := auto.NewCounterVec(prometheus.CounterOpts{
		Name: "spillway_crm_requests_total", Help: "Calls to the CRM by route and status code; the code is none if there was no answer.",
	}, []string{"route", "code"})
	duration := auto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "spillway_crm_request_duration_seconds", Help: "Time of a call to the CRM, without the wait for its turn.", Buckets: callSeconds(),
	}, []string{"route"})
	// A rate needs a series that was there before the first event.
	for _, route := range []string{"contact", "tags", "update"} {
		requests.WithLabelValues(route, "200")
	}
	return func(call pulse.Call) {
		code := "none"
		if call.Status != 0 {
			code = strconv.Itoa(call.Status)
		}
		requests.WithLabelValues(call.Route, code).Inc()
		duration.WithLabelValues(call.Route).Observe(call.Duration.Seconds())
	}
}

// SiteRequests returns what counts the requests of a site's client, for its
// Observe.
func SiteRequests(registerer prometheus.Registerer) func(site.Request) {
	auto := promauto.With(registerer)
	requests := auto.NewCounterVec(prometheus.CounterOpts{
		Name: "spillway_site_requests_total",
		Help: "Requests that store contacts on the site: answered, failed as a whole (they are halved), or outage.",
	}, []string{"outcome"})
	for _, outcome := range []string{"answered", "failed", "outage"} {
		requests.WithLabelValues(outcome)
	}
	duration := auto.NewHistogram(prometheus.HistogramOpts{
		Name: "spillway_site_request_duration_seconds", Help: "Time of a request that stores contacts on the site.", Buckets: callSeconds(),
	})
	size := auto.NewHistogram(prometheus.HistogramOpts{
		Name: "spillway_site_batch_size", Help: "Contacts in a request to the site.", Buckets: []float64{1, 2, 5, 10, 20, 35, 50, 75, 100},
	})
	return func(request site.Request) {
		requests.WithLabelValues(request.Outcome).Inc()
		duration.Observe(request.Took.Seconds())
		size.Observe(float64(request.Contacts))
	}
}
