package bench

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
)

// guardRows show what becomes of a burst when the site is slow.
func guardRows(ctx context.Context, s *stage) []Row {
	rows := slowSite(ctx, s)
	rows = append(rows, loneWebhook(ctx, s))
	return append(rows, slowedSite(ctx, s)...)
}

// slowSite lets one worker drain contacts onto a site that takes four times as
// long for a contact as the CRM does. A pass that waited out its deadline in
// the site's line would have to read its contact again.
func slowSite(ctx context.Context, s *stage) []Row {
	count := pick(s, 300, 200)
	server := redistest.Start(s, everySecond()...)
	stand := s.startCRM(sandbox.CRMOptions{Latency: crmLatency}, count)
	// The CRM gives 100 contacts a second, the site takes 25.
	site, siteURL := s.startSite(sandbox.SiteOptions{ContactCost: 40 * time.Millisecond, StartCost: -1})
	s.users(stand, site, count)
	contacts, _ := s.contacts(server.Addr)
	s.submit(ctx, contacts, 1, count)
	began := time.Now()
	p := s.worker(ctx, standInTarget(server.URL(), stand.url, siteURL, site), map[string]string{
		"SPILLWAY_CRM_RATE": "200", "SPILLWAY_CRM_CONCURRENCY": "64",
	})
	defer p.stop()
	s.drained(ctx, contacts, 3*time.Minute)
	took := time.Since(began)
	calls := stand.Stats().Total
	return []Row{
		{
			What: "calls of the CRM per contact, the site four times slower than the CRM", Value: float64(calls) / float64(count), Unit: "calls", Sense: AtMost, Bound: 2,
			Note: fmt.Sprintf("%d contacts in %.1f s, the site's own bound is %.1f s", count, took.Seconds(), 0.04*float64(count)),
		},
		{What: "passes that failed meanwhile", Value: float64(s.stats(ctx, contacts).Failed), Unit: "passes", Sense: AtMost, Bound: 0},
	}
}

// loneWebhook measures how long a single edit takes on an idle system.
func loneWebhook(ctx context.Context, s *stage) Row {
	const startCost, contactCost = 50 * time.Millisecond, 8 * time.Millisecond
	rounds := pick(s, 11, 5)
	server := redistest.Start(s, everySecond()...)
	stand := s.startCRM(sandbox.CRMOptions{Latency: crmLatency}, rounds)
	site, siteURL := s.startSite(sandbox.SiteOptions{StartCost: startCost, ContactCost: contactCost})
	s.users(stand, site, rounds)
	ingest, webhooks, _ := s.ingest(ctx, server.URL(), nil)
	defer ingest.stop()
	p := s.worker(ctx, standInTarget(server.URL(), stand.url, siteURL, site), nil)
	defer p.stop()
	var took []float64
	for id := 1; id <= rounds; id++ {
		s.rest(ctx, 1200*time.Millisecond) // idle again
		stored := site.Stats().Stored
		began := time.Now()
		body := s.webhook(ctx, fmt.Sprintf("http://%s/?wpf_action=update&access_key=%s&contact_id=%d", webhooks, accessKey, id))
		require.Equal(s, http.StatusOK, body)
		s.eventually(ctx, 30*time.Second, 500*time.Microsecond, "the lone webhook's contact", func() bool { return site.Stats().Stored > stored })
		took = append(took, milliseconds(time.Since(began)))
	}
	// The answers' bodies and ours are small: the calls take what they sleep.
	calls := milliseconds(2*crmLatency + startCost + contactCost)
	return Row{
		What: "a lone webhook until its contact stands on the site, against the sum of its calls", Value: median(took) / calls, Sense: AtMost, Bound: 1.3,
		Note: fmt.Sprintf("%.0f ms; calls %.0f ms, of which the CRM's two of 100 ms can be made at once", median(took), calls),
	}
}

func (s *stage) webhook(ctx context.Context, url string) (status int) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	require.NoError(s, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(s, err)
	defer response.Body.Close()
	return response.StatusCode
}

// slowedSite slows a real site from outside while contacts drain: two processes
// that burn processors, and four of six PHP workers taken.
func slowedSite(ctx context.Context, s *stage) []Row {
	stand := s.siteStand(ctx, siteContacts, siteContacts)
	lasts := pick(s, 12*time.Second, 6*time.Second)

	// What the disturbance alone does to the page.
	quiet := stand.during(ctx, lasts/3, func() {})
	alone := stand.during(ctx, lasts/2, stand.disturb(ctx))
	s.rest(ctx, 2*time.Second)

	stop := stand.keepBusy(ctx)
	stand.s.rest(ctx, 2*time.Second)
	before := stand.during(ctx, lasts/2, func() {})
	slowed := stand.during(ctx, lasts, stand.disturb(ctx))
	s.rest(ctx, 2*time.Second)
	after := stand.during(ctx, lasts, func() {})
	stop()

	share := func(at span) float64 { // PHP workers held by Spillway
		return workerSeconds(stand.site.requests("spillway", at.from, at.to)) / at.to.Sub(at.from).Seconds()
	}
	stored := func(at span) float64 {
		contacts := 0
		for _, r := range stand.site.requests("spillway", at.from, at.to) {
			contacts += r.Contacts
		}
		return float64(contacts) / at.to.Sub(at.from).Seconds()
	}
	page := func(at span) float64 {
		times := stand.pages.times([]span{at})
		require.NotEmpty(s, times, "pages that were answered")
		return quantile(times, 0.5)
	}
	// Of the slowed time the guard has the first half to find out.
	late := span{slowed.from.Add(slowed.to.Sub(slowed.from) / 2), slowed.to}
	require.Positive(s, stored(before), "contacts stored per second before the site is slowed")
	return []Row{
		{
			What: "the page while its site is slowed from outside and contacts drain, against slowed alone", Value: page(late) / page(alone), Sense: AtMost, Bound: 1.15,
			Note: fmt.Sprintf("medians %.0f ms and %.0f ms; quiet %.0f ms; two processes that burn processors, 4 of 6 PHP workers taken", page(late), page(alone), page(quiet)),
		},
		{
			What: "contacts stored per second while slowed, against before", Value: stored(late) / stored(before),
			Note: fmt.Sprintf("%.0f/s and %.0f/s; PHP workers held %.2f and %.2f", stored(late), stored(before), share(late), share(before)),
		},
		{
			What: "contacts stored per second afterwards, against before", Value: stored(after) / stored(before), Sense: AtLeast, Bound: 0.8,
			Note: fmt.Sprintf("%.0f/s, from 2 s after its end on", stored(after)),
		},
	}
}

// during lets a time pass with a disturbance that ends with it.
func (stand *siteStand) during(ctx context.Context, d time.Duration, disturb func()) span {
	var wait sync.WaitGroup
	from := time.Now()
	wait.Go(disturb)
	stand.s.rest(ctx, d)
	to := time.Now()
	stand.stopDisturbing()
	wait.Wait()
	return span{from, to}
}

// disturb burns processors and takes PHP workers until stopDisturbing.
func (stand *siteStand) disturb(ctx context.Context) func() {
	ctx, stop := context.WithCancel(ctx)
	stand.disturbing = stop
	s := stand.s
	hogs := []*process{s.launch(partHog, s.options.Self, nil, PartCommand, partHog), s.launch(partHog, s.options.Self, nil, PartCommand, partHog)}
	return func() {
		var takers sync.WaitGroup
		for range 4 {
			takers.Go(func() {
				for ctx.Err() == nil {
					_ = s.get(ctx, stand.site.URL()+"/?bench_sleep=500")
				}
			})
		}
		takers.Wait()
		for _, hog := range hogs {
			hog.kill()
		}
	}
}

func (stand *siteStand) stopDisturbing() {
	if stand.disturbing != nil {
		stand.disturbing()
		stand.disturbing = nil
	}
}

// keepBusy keeps contacts pending that the CRM has just changed.
func (stand *siteStand) keepBusy(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		for round := 1000; ctx.Err() == nil; round++ {
			stand.crm.edit(1, siteContacts, round)
			for id := 1; id <= siteContacts && ctx.Err() == nil; id++ {
				ref := contact.Ref{Site: contact.DefaultSite, ID: idOf(id)}
				_, _ = stand.contacts.Submit(ctx, ref, contact.Intent{Action: contact.Update}, contact.Receipt{}) // the rates show it
			}
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
		}
	})
	return func() {
		cancel()
		wait.Wait()
	}
}
