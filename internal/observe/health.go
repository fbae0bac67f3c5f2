package observe

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/singleflight"
)

// checkTimeout is how long /readyz waits for its checks. Probes of
// orchestrators commonly give up after a few seconds.
const checkTimeout = 2 * time.Second

// Check is one thing that must be well before a program can work.
type Check struct {
	Name string
	// Run returns nil when all is well. An [Unready] is shown as it is, any
	// other error only as "unavailable", since it may hold addresses.
	Run func(ctx context.Context) error
}

// Unready is an error whose text may be shown to anyone.
type Unready string

func (u Unready) Error() string { return string(u) }

// Degraded is an error that is shown as it is and does not make the program
// unready: it can do its work, or wait for what it needs.
type Degraded string

func (d Degraded) Error() string { return string(d) }

// Handler serves
//
//	GET /healthz  200 {"status":"ok"} as long as the process answers
//	GET /readyz   200 {"status":"ready"}, or 503 {"status":"unready","checks":{"redis":"…"}};
//	              a [Degraded] is shown under "checks" with status 200, too
//	GET /metrics  the gatherer's metrics
//
// /readyz runs the checks side by side and answers within two seconds, even if
// a check ignores its context. A check never runs twice at once: requests that
// arrive while it runs share its answer.
func Handler(metrics prometheus.Gatherer, checks ...Check) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, health{Status: "ok"})
	})
	r := &readiness{checks: checks}
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, req *http.Request) {
		notes, ready := r.run(req.Context())
		if !ready {
			answer(w, http.StatusServiceUnavailable, health{Status: "unready", Checks: notes})
			return
		}
		answer(w, http.StatusOK, health{Status: "ready", Checks: notes})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

type health struct {
	Status string            `json:"status"`
	Checks map[string]string `json:"checks,omitempty"`
}

func answer(w http.ResponseWriter, status int, body health) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client may have gone; nobody is left to tell.
	_ = json.NewEncoder(w).Encode(body)
}

type readiness struct {
	checks []Check
	flight singleflight.Group
}

// run returns each check's finding, and whether the program is ready.
func (r *readiness) run(ctx context.Context) (notes map[string]string, ready bool) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()

	answers := make([]<-chan singleflight.Result, len(r.checks))
	for i, check := range r.checks {
		answers[i] = r.flight.DoChan(check.Name, func() (any, error) {
			// Others may share this run: it must outlive this request.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
			defer cancel()
			return nil, check.Run(ctx)
		})
	}
	notes, ready = make(map[string]string), true
	for i, check := range r.checks {
		select {
		case result := <-answers[i]:
			var degraded Degraded
			switch {
			case errors.As(result.Err, &degraded):
				notes[check.Name] = degraded.Error()
			case result.Err != nil:
				notes[check.Name], ready = shown(result.Err), false
			}
		case <-ctx.Done():
			notes[check.Name], ready = noAnswer, false
		}
	}
	return notes, ready
}

const noAnswer = "no answer within 2 seconds"

func shown(err error) string {
	var unready Unready
	switch {
	case errors.As(err, &unready):
		return unready.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return noAnswer
	default:
		return "unavailable"
	}
}
