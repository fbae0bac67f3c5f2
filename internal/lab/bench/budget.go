package bench

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/throttle"
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

// sharedBudget counts the calls of four workers in every window of time: as
// Redis granted them, which is what the budget promises, and as they arrived at
// the CRM, each a little later than its grant and not all by the same time.
func sharedBudget(ctx context.Context, s *stage) []Row {
	const configured = 100
	b := s.budgetRun(ctx, configured, sandbox.CRMOptions{Latency: crmLatency})
	s.rest(ctx, pick(s, 8*time.Second, 4*time.Second))
	calls, grants := b.crm.called(), b.granted()
	require.NotEmpty(s, calls)
	require.GreaterOrEqual(s, len(grants), len(calls), "grants that Redis showed")
	const burst = configured / 4 // throttle's own
	// A grant is written some microseconds after the time that it was decided by.
	most := math.Round(10*beyond(grants, configured)) / 10
	return []Row{{
		What: "calls beyond the rate in any window, against one burst, 4 workers", Value: most / burst, Sense: AtMost, Bound: 1,
		Note: fmt.Sprintf("%.0f calls beyond 100/s as Redis granted them, a burst is %d; %.0f as they arrived; %d calls in %.1f s",
			most, burst, beyond(calls, configured), len(calls), calls[len(calls)-1].Sub(calls[0]).Seconds()),
	}}
}

// beyond is the most that any window of time held above its share of a rate.
func beyond(times []time.Time, perSecond float64) (most float64) {
	for i, first := range times {
		for j := i; j < len(times); j++ {
			most = max(most, float64(j-i+1)-perSecond*times[j].Sub(first).Seconds())
		}
	}
	return most
}

// budgetStand is four workers with more contacts than they can drain.
type budgetStand struct {
	crm     *crm
	began   time.Time
	granted func() []time.Time // when Redis allowed calls so far
}

func (s *stage) budgetRun(ctx context.Context, rate int, options sandbox.CRMOptions) budgetStand {
	const count = 1500
	server := redistest.Start(s, everySecond()...)
	stand := s.startCRM(options, count)
	site, siteURL := s.startSite(sandbox.SiteOptions{})
	contacts, _ := s.contacts(server.Addr)
	granted := s.grants(ctx, server.Addr)
	for range 4 {
		s.worker(ctx, standInTarget(server.URL(), stand.url, siteURL, site), map[string]string{
			"SPILLWAY_CRM_RATE": strconv.Itoa(rate), "SPILLWAY_CRM_CONCURRENCY": "64",
		})
	}
	s.submit(ctx, contacts, 1, count)
	s.eventually(ctx, time.Minute, 5*time.Millisecond, "the first call", func() bool { return stand.Stats().Total > 0 })
	return budgetStand{crm: stand, began: time.Now(), granted: granted}
}

// grants watches what Redis carries out. The budget's script writes a call's turn,
// in milliseconds, when, and only when, it gives one.
func (s *stage) grants(ctx context.Context, addr string) (soFar func() []time.Time) {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	require.NoError(s, err)
	s.closing(connection)
	_, err = connection.Write([]byte("MONITOR\r\n"))
	require.NoError(s, err)
	var mu sync.Mutex
	var times []time.Time
	written := regexp.MustCompile(`"HSET" "` + regexp.QuoteMeta(throttle.BudgetKey("")) + `" .*"turn" "(\d+)\.(\d{3})"`)
	go func() {
		for lines := bufio.NewScanner(connection); lines.Scan(); {
			found := written.FindStringSubmatch(lines.Text())
			if found == nil {
				continue
			}
			millis, _ := strconv.ParseInt(found[1], 10, 64)
			micros, _ := strconv.ParseInt(found[2], 10, 64)
			mu.Lock()
			times = append(times, time.UnixMicro(1000*millis+micros))
			mu.Unlock()
		}
	}()
	return func() []time.Time {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(times)
	}
}
