package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/pending"
)

func idOf(n int) string { return strconv.Itoa(n) }

// drainRate is what the CRM allows here; a pass takes two calls.
const drainRate = 200

// drainContactCost is what a contact costs the stand-in site: what the plugin
// takes for one that changed lightly, see the plugin's rows. With the
// stand-in's own cost the site would be the bound.
const drainContactCost = 3 * time.Millisecond

// drainRows let workers drain contacts against the bound that the CRM sets.
// The rate is that of the middle of the queue: its beginning and end say how
// fast workers start and stop.
func drainRows(ctx context.Context, s *stage) []Row {
	var rows []Row
	for _, replicas := range []int{1, 4} {
		count := pick(s, 1200, 600)
		per, calls := drain(ctx, s, replicas, count)
		rows = append(rows, Row{
			What:  fmt.Sprintf("passes per second against the CRM's bound, %d worker(s)", replicas),
			Value: per / (drainRate / 2), Sense: AtLeast, Bound: 0.90,
			Note: fmt.Sprintf("%.1f/s of %d/s, %d contacts, %.2f calls each; the CRM takes %v and %d calls/s, the site 50 ms and %v a contact", per, drainRate/2, count, calls, crmLatency, drainRate, drainContactCost),
		})
	}
	return rows
}

// drain returns the passes per second, and the calls that a contact took.
func drain(ctx context.Context, s *stage, replicas, count int) (perSecond, calls float64) {
	server := redistest.Start(s, everySecond()...)
	stand := s.startCRM(sandbox.CRMOptions{Latency: crmLatency}, count)
	site, siteURL := s.startSite(sandbox.SiteOptions{ContactCost: drainContactCost})
	s.users(stand, site, count)
	contacts, _ := s.contacts(server.Addr)
	s.submit(ctx, contacts, 1, count)
	for range replicas {
		p := s.worker(ctx, standInTarget(server.URL(), stand.url, siteURL, site), map[string]string{
			"SPILLWAY_CRM_RATE": strconv.Itoa(drainRate), "SPILLWAY_CRM_CONCURRENCY": "64",
		})
		defer p.stop()
	}
	from := s.reached(ctx, contacts, int64(count/5))
	to := s.reached(ctx, contacts, int64(count*4/5))
	perSecond = float64(to.synced-from.synced) / to.at.Sub(from.at).Seconds()
	s.drained(ctx, contacts, time.Minute)
	return perSecond, float64(stand.Stats().Total) / float64(count)
}

// milestone is how many passes had succeeded at a time.
type milestone struct {
	at     time.Time
	synced int64
}

func (s *stage) reached(ctx context.Context, contacts *pending.Contacts, synced int64) milestone {
	var m milestone
	s.eventually(ctx, 5*time.Minute, 10*time.Millisecond, "passes", func() bool {
		m = milestone{at: time.Now(), synced: s.stats(ctx, contacts).Synced}
		return m.synced >= synced
	})
	return m
}

// users gives the site a user for each of the CRM's contacts 1 to n.
func (s *stage) users(stand *crm, site *sandbox.Site, n int) {
	for id := 1; id <= n; id++ {
		known, ok := stand.Contact(idOf(id))
		require.True(s, ok, "contact %d", id)
		email, _ := known["email"].(string)
		site.CreateUser(sandbox.NewUser{Login: email, Email: email, Password: "unused", Role: "subscriber", ContactID: idOf(id)})
	}
}

// settleRows send the several webhooks of one edit: without a settle window
// each pass that begins between two of them is followed by another.
func settleRows(ctx context.Context, s *stage) []Row {
	const edits, webhooks = 60, 4
	passes := func(settle string) float64 {
		server := redistest.Start(s, everySecond()...)
		stand := s.startCRM(sandbox.CRMOptions{Latency: crmLatency}, edits)
		site, siteURL := s.startSite(sandbox.SiteOptions{})
		s.users(stand, site, edits)
		change := map[string]string{"SPILLWAY_CRM_RATE": "1000", "SPILLWAY_CRM_CONCURRENCY": "64"}
		if settle != "" {
			change["SPILLWAY_SETTLE"] = settle
		}
		ingest, webhookAddr, _ := s.ingest(ctx, server.URL(), change)
		defer ingest.stop()
		worker := s.worker(ctx, standInTarget(server.URL(), stand.url, siteURL, site), change)
		defer worker.stop()
		for range webhooks {
			s.send(ctx, load{Addr: webhookAddr, Connections: 10, Duration: 10 * time.Second, Count: edits, First: 1})
			s.rest(ctx, 300*time.Millisecond)
		}
		contacts, _ := s.contacts(server.Addr)
		s.drained(ctx, contacts, time.Minute)
		return float64(s.stats(ctx, contacts).Synced) / edits
	}
	without := passes("")
	with := passes("1s")
	return []Row{{
		What: "passes per edit of 4 webhooks 0.3 s apart, SPILLWAY_SETTLE=1s", Value: with, Unit: "passes", Sense: AtMost, Bound: 1,
		Note: fmt.Sprintf("%.1f without it", without),
	}}
}
