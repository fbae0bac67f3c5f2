package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"spillway/internal/pulse"
	"spillway/internal/site"
)

// callSeconds are the histogram's buckets; the last ones cover both clients' time-outs.
func callSeconds() []float64 {
	return []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25}
}

// CRMCalls returns a function for the Observe option of a site's CRM client. It
// counts the client's calls.
func CRMCalls(registerer prometheus.Registerer) func(site string) func(pulse.Call) {
	auto := promauto.With(registerer)
	requests := auto.NewCounterVec(prometheus.CounterOpts{
		Name: "spillway_crm_requests_total", Help: "Calls to the CRM by route and status code; the code is none if there was no answer.",
	}, []string{"site", "route", "code"})
	duration := auto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "spillway_crm_request_duration_seconds", Help: "Time of a call to the CRM, without the wait for its turn.", Buckets: callSeconds(),
	}, []string{"site", "route"})
	return func(site string) func(pulse.Call) {
		// Prometheus can compute a rate only if the series exists before the first event.
		for _, route := range []string{"contact", "tags", "update"} {
			requests.WithLabelValues(site, route, "200")
		}
		return func(call pulse.Call) {
			code := "none"
			if call.Status != 0 {
				code = strconv.Itoa(call.Status)
			}
			requests.WithLabelValues(site, call.Route, code).Inc()
			duration.WithLabelValues(site, call.Route).Observe(call.Duration.Seconds())
		}
	}
}

// SiteRequests returns a function for the Observe option of the named site's
// client. It counts the client's requests.
func SiteRequests(registerer prometheus.Registerer) func(name string) func(site.Request) {
	auto := promauto.With(registerer)
	requests := auto.NewCounterVec(prometheus.CounterOpts{
		Name: "spillway_site_requests_total",
		Help: "Requests that store contacts on the site: answered, failed as a whole (they are halved), or outage.",
	}, []string{"site", "outcome"})
	duration := auto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "spillway_site_request_duration_seconds", Help: "Time of a request that stores contacts on the site.", Buckets: callSeconds(),
	}, []string{"site"})
	size := auto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "spillway_site_batch_size", Help: "Contacts in a request to the site.", Buckets: []float64{1, 2, 5, 10, 20, 35, 50, 75, 100},
	}, []string{"site"})
	return func(name string) func(site.Request) {
		for _, outcome := range []string{"answered", "failed", "outage"} {
			requests.WithLabelValues(name, outcome)
		}
		return func(request site.Request) {
			requests.WithLabelValues(name, request.Outcome).Inc()
			duration.WithLabelValues(name).Observe(request.Took.Seconds())
			size.WithLabelValues(name).Observe(float64(request.Contacts))
		}
	}
}
