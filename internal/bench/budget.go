package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"spillway/internal/redisconn/redistest"
	"spillway/internal/sandbox"
)

// budgetRows show how four workers share one budget, and how they find a limit
// that is lower than the budget.
func budgetRows(ctx context.Context, s *stage) []Row {
	return append(unknownLimit(ctx, s), sharedBudget(ctx, s)...)
}

// unknownLimit runs against a CRM that allows 25 calls a second while 40 are
// configured.
func unknownLimit(ctx context.Context, s *stage) []Row {
	const allowed, configured = 25, 40
	lasts := pick(s, 30*time.Second, 15*time.Second)
	b := s.budgetRun(ctx, configured, sandbox.CRMOptions{Latency: crmLatency, RatePerSecond: allowed})
	s.rest(ctx, lasts)
	stats := b.crm.Stats()
	answered := float64(stats.Total-stats.Limited) / time.Since(b.began).Seconds()
	return []Row{
		{
			What: "calls answered per second against the limit, 25/s allowed and 40/s configured, 4 workers", Value: answered / allowed,
			Note: fmt.Sprintf("%.1f/s over %.0f s from the first call on", answered, time.Since(b.began).Seconds()),
		},
		{What: "share of calls that met 429", Value: 100 * float64(stats.Limited) / float64(stats.Total), Unit: "%", Note: fmt.Sprintf("%d of %d", stats.Limited, stats.Total)},
	}
}

// sharedBudget counts the calls of four workers in every window of time.
func sharedBudget(ctx context.Context, s *stage) []Row {
	const configured = 100
	b := s.budgetRun(ctx, configured, sandbox.CRMOptions{Latency: crmLatency})
	s.rest(ctx, pick(s, 8*time.Second, 4*time.Second))
	calls := b.crm.called()
	burst := float64(configured / 4) // throttle's own
	// What any window held beyond its share of the rate.
	most := 0.0
	for i := range calls {
		for j := i; j < len(calls); j++ {
			window := calls[j].Sub(calls[i]).Seconds()
			most = max(most, float64(j-i+1)-configured*window)
		}
	}
	return []Row{{
		What: "calls beyond the rate in any window, against one burst, 4 workers", Value: most / burst, Sense: AtMost, Bound: 1,
		Note: fmt.Sprintf("%.0f calls beyond 100/s, a burst is %.0f; %d calls in %.1f s", most, burst, len(calls), calls[len(calls)-1].Sub(calls[0]).Seconds()),
	}}
}

// budgetStand is four workers with more contacts than they can drain.
type budgetStand struct {
	crm   *crm
	began time.Time
}

func (s *stage) budgetRun(ctx context.Context, rate int, options sandbox.CRMOptions) budgetStand {
	const count = 1500
	server := redistest.Start(s, everySecond()...)
	stand := s.startCRM(options, count)
	site, siteURL := s.startSite(sandbox.SiteOptions{})
	contacts, _ := s.contacts(server.Addr)
	for range 4 {
		s.worker(ctx, standInTarget(server.URL(), stand.url, siteURL, site), map[string]string{
			"SPILLWAY_CRM_RATE": strconv.Itoa(rate), "SPILLWAY_CRM_CONCURRENCY": "64",
		})
	}
	s.submit(ctx, contacts, 1, count)
	s.eventually(ctx, time.Minute, 5*time.Millisecond, "the first call", func() bool { return stand.Stats().Total > 0 })
	return budgetStand{crm: stand, began: time.Now()}
}
