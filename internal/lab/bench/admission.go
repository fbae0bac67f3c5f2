package bench

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path"
	"strconv"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/pending"
)

// admissionWorkers take part in each of these runs.
const admissionWorkers = 4

// admissionRows show that passes begin only when they can end: with a CRM that
// takes few calls, whether it tells so or not, and with one that asks for a
// pause.
func admissionRows(ctx context.Context, s *stage) []Row {
	rows := slowCRMs(ctx, s, 5)
	return append(rows, longHold(ctx, s, pick(s, 4000, 2000), 20*time.Second)...)
}

// slowRows are those of slower CRMs and of a longer pause.
func slowRows(ctx context.Context, s *stage) []Row {
	rows := slowCRMs(ctx, s, 1, 2)
	return append(rows, longHold(ctx, s, pick(s, 20_000, 4000), pick(s, 2*time.Minute, 30*time.Second))...)
}

// slowCRMs runs them side by side, since they mostly wait.
func slowCRMs(ctx context.Context, s *stage, rates ...float64) []Row {
	slow := make([][]Row, 2*len(rates))
	var runs sync.WaitGroup
	for i, rate := range rates {
		runs.Go(func() { slow[i] = slowCRM(ctx, s, rate, true) })
		runs.Go(func() { slow[len(rates)+i] = slowCRM(ctx, s, rate, false) })
	}
	runs.Wait()
	var rows []Row
	for _, some := range slow {
		rows = append(rows, some...)
	}
	return rows
}

// slowCRM drains contacts against a CRM that takes few calls a second: told, by
// the setting, or found by its 429s while the setting is the default.
func slowCRM(ctx context.Context, s *stage, perSecond float64, told bool) []Row {
	count := pick(s, 300, 100)
	options, setting, what := sandbox.CRMOptions{Latency: crmLatency}, map[string]string{}, "set"
	if told {
		setting["SPILLWAY_CRM_RATE"] = strconv.FormatFloat(perSecond, 'f', -1, 64)
	} else {
		options.RatePerSecond, what = perSecond, "not told, 40 are set"
	}
	r := s.admissionRun(ctx, options, setting, count)
	s.drained(ctx, r.contacts, time.Hour)
	stats, calls := s.stats(ctx, r.contacts), r.crm.Stats()
	answered := calls.Total - calls.Limited
	times := r.crm.called()
	took := times[len(times)-1].Sub(times[0]).Seconds()
	vain := answered - int64(2*count)
	name := fmt.Sprintf("a CRM of %v calls a second (%s), %d workers: ", perSecond, what, admissionWorkers)
	rows := []Row{
		{
			What: name + "calls against the bound", Value: float64(answered) / (perSecond*took + 1), Sense: AtLeast, Bound: 0.9,
			Note: fmt.Sprintf("%d contacts in %.0f s, %d calls answered, %d met 429", count, took, answered, calls.Limited),
		},
		{What: name + "failed passes", Value: float64(stats.Failed), Unit: "passes", Sense: AtMost},
		{What: name + "calls in vain", Value: float64(vain), Unit: "calls"},
	}
	if told {
		rows[2].Sense = AtMost
	}
	return rows
}

// longHold lets a CRM ask for a pause while many contacts wait.
func longHold(ctx context.Context, s *stage, count int, hold time.Duration) []Row {
	r := s.admissionRun(ctx, sandbox.CRMOptions{Latency: crmLatency}, map[string]string{"SPILLWAY_CRM_RATE": "400", "SPILLWAY_CRM_CONCURRENCY": "64"}, count)
	s.eventually(ctx, 5*time.Minute, 10*time.Millisecond, "a tenth of the contacts", func() bool {
		return s.stats(ctx, r.contacts).Synced > int64(count/10)
	})
	require.NoError(s, r.crm.Fail(sandbox.Fault{Status: http.StatusTooManyRequests, RetryAfter: hold}))
	began := time.Now()
	var most pending.Stats
	for time.Since(began) < hold-time.Second {
		s.rest(ctx, time.Second)
		if now := s.stats(ctx, r.contacts); now.Retrying+now.Failed >= most.Retrying+most.Failed {
			most = now
		}
	}
	s.drained(ctx, r.contacts, 30*time.Minute)
	stats := s.stats(ctx, r.contacts)
	what := fmt.Sprintf("%d contacts and a hold of %v: ", count, hold)
	return []Row{
		{
			What: what + "failed passes", Value: float64(stats.Failed), Unit: "passes", Sense: AtMost,
			Note: fmt.Sprintf("%d retrying at most; the rest stayed pending", most.Retrying),
		},
		{What: what + "lines logged besides one for each contact synced", Value: float64(r.logged() - count), Unit: "lines", Sense: AtMost},
		{
			What: what + "contacts read out of their turn, at most by", Value: float64(r.crm.displaced()), Unit: "places",
			Note: fmt.Sprintf("of %d; %d workers begin side by side", count, admissionWorkers),
		},
	}
}

// admissionRun is workers with contacts to drain, in the order of their ids.
type admissionRun struct {
	crm      *crm
	contacts *pending.Contacts
	workers  []*process
}

func (s *stage) admissionRun(ctx context.Context, options sandbox.CRMOptions, setting map[string]string, count int) admissionRun {
	server := redistest.Start(s, everySecond()...)
	r := admissionRun{crm: s.startCRM(options, count)}
	site, siteURL := s.startSite(sandbox.SiteOptions{ContactCost: drainContactCost})
	s.users(r.crm, site, count)
	r.contacts, _ = s.contacts(server.Addr)
	webhooks := make([]pending.Webhook, count)
	for i := range webhooks {
		webhooks[i] = pending.Webhook{Ref: contact.Ref{Site: contact.DefaultSite, ID: idOf(i + 1)}, Intent: contact.Intent{Action: contact.Update}}
	}
	require.NoError(s, r.contacts.SubmitAll(ctx, webhooks))
	for range admissionWorkers {
		r.workers = append(r.workers, s.worker(ctx, standInTarget(server.URL(), r.crm.url, siteURL, site), setting))
	}
	return r
}

// logged counts the workers' lines that tell of a pass.
func (r admissionRun) logged() (lines int) {
	for _, p := range r.workers {
		text, _ := os.ReadFile(p.log)
		lines += bytes.Count(text, []byte("contact="+contact.DefaultSite)) + bytes.Count(text, []byte(`"contact":"`+contact.DefaultSite))
	}
	return lines
}

// displaced is the largest number of places by which a contact was read before or
// after its turn. The last read of each contact counts.
func (c *crm) displaced() (most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := map[int]int{}
	at := 0
	for _, p := range c.paths {
		if id, err := strconv.Atoi(path.Base(p)); err == nil {
			if _, again := last[id]; !again {
				at++
			}
			last[id] = at
		}
	}
	for id, at := range last {
		most = max(most, id-at, at-id)
	}
	return most
}
