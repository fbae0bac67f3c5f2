package throttle_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/pending"
	"spillway/internal/throttle"
)

// outageRun is an outage of both systems while contacts wait, and its end.
type outageRun struct {
	contacts    int
	lasts       time.Duration
	rate        float64
	concurrency int
	breaker     throttle.BreakerOptions
}

// outageFigures is what a run showed.
type outageFigures struct {
	callsDuring, requestsDuring int64 // that the CRM and the site got while they were away
	wakeUpsDuring               int64 // that the workers took from the queue meanwhile
	after                       []second
	took                        time.Duration // from the end of the outage to the last contact
}

// second is about a second after the outage.
type second struct {
	lasted          float64
	calls, requests int64 // that the CRM and the site got
}

func (r outageRun) do(t *testing.T) outageFigures {
	t.Helper()
	s := newStack(t, stackOptions{
		crm:  sandbox.CRMOptions{Latency: 2 * time.Millisecond},
		site: sandbox.SiteOptions{StartCost: 5 * time.Millisecond, ContactCost: 100 * time.Microsecond},
		rate: r.rate, concurrency: r.concurrency, batch: 50, breaker: r.breaker,
	})
	s.crm.SeedWithTags(r.contacts, 3)
	s.submit(t, contact.Add)
	require.NoError(t, s.crm.Fail(sandbox.Fault{Status: http.StatusServiceUnavailable, For: 1000 * time.Hour}))
	require.NoError(t, s.site.GoDown())
	for range 2 {
		s.work(t)
	}
	polltest.Until(t, 30*time.Second, func() bool { crm, _ := s.states(t); return crm != throttle.Closed }, "the breaker opens")
	began := time.Now()
	require.Eventually(t, func() bool { return time.Since(began) > r.lasts }, 2*r.lasts, 10*time.Millisecond)

	figures := outageFigures{
		callsDuring: s.crm.Stats().Total, requestsDuring: s.site.Stats().Requests, wakeUpsDuring: s.admitted.Load(),
	}
	crm, _ := s.states(t)
	require.NotEqual(t, throttle.Closed, crm)
	stats := s.stats(t)
	require.Equal(t, int64(r.contacts), stats.Pending+stats.Active+stats.Retrying, "no contact is lost, none is parked")
	s.each(t, func(ref contact.Ref) error {
		record, err := s.contacts.Lookup(t.Context(), ref)
		if err == nil && (record.Attempts != 0 || record.State == pending.Idle || record.State == pending.Parked) {
			err = fmt.Errorf("contact %s is %s after %d attempts: an outage uses up none", ref, record.State, record.Attempts)
		}
		return err
	})

	ended := time.Now()
	s.crm.ClearFaults()
	s.site.ClearFaults()
	polltest.Until(t, 2*time.Minute, func() bool { crm, site := s.states(t); return crm+site == throttle.Closed+throttle.Closed }, "the breakers close")
	calls, requests, last := s.crm.Stats().Total, s.site.Stats().Requests, time.Now()
	polltest.Until(t, 30*time.Minute, func() bool {
		if lasted := time.Since(last); lasted > time.Second {
			callsNow, requestsNow := s.crm.Stats().Total, s.site.Stats().Requests
			figures.after = append(figures.after, second{lasted.Seconds(), callsNow - calls, requestsNow - requests})
			calls, requests, last = callsNow, requestsNow, last.Add(lasted)
		}
		stats := s.stats(t)
		return stats.Pending+stats.Active+stats.Retrying+stats.Parked == 0
	}, "contacts are left")
	figures.took = time.Since(ended)
	require.Equal(t, int64(r.contacts), s.site.Stats().Users, "every contact got its user")
	return figures
}

func TestContactsSurviveAnOutageAndDrainWithoutAStampede(t *testing.T) {
	t.Parallel()
	run := outageRun{
		contacts: 2000, lasts: 4 * time.Second, rate: 600, concurrency: 32,
		breaker: throttle.BreakerOptions{First: 200 * time.Millisecond, Longest: time.Second, Ramp: 4 * time.Second},
	}
	got := run.do(t)
	t.Logf("%+v", got)
	require.Less(t, got.callsDuring, int64(300), "a system that is away is left alone")
	require.Less(t, got.wakeUpsDuring, int64(4*2*run.concurrency), "wake-ups are not taken and put back in a loop")
	require.NotEmpty(t, got.after)
	for n, second := range got.after {
		// Passes are held back before; what comes through is bounded by the budget.
		require.LessOrEqual(t, float64(second.calls), run.rate/4+run.rate*(second.lasted+0.1), "second %d after the outage", n)
	}
}
