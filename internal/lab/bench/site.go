package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/pending"
)

const (
	siteContacts    = 500
	siteWebhooks    = 1000
	siteConnections = 50
)

// siteBurst is one burst of webhooks and what it did.
type siteBurst struct {
	span
	took     float64 // seconds until all contacts were right
	requests int
	busy     float64 // PHP-worker seconds
}

// siteStand is a site, a CRM, and Spillway between them.
type siteStand struct {
	s        *stage
	crm      *crm
	site     *wordpress
	contacts *pending.Contacts
	webhooks string
	worker   *process
	settings map[string]string
	pages    *prober
	edits    int
	idle     []span

	disturbing func() // ends what slows the site; nil: nothing does
}

// siteRows send bursts through Spillway and then straight at the site, while
// a page is asked for five times a second.
func siteRows(ctx context.Context, s *stage) []Row {
	count := pick(s, siteContacts, 100)
	updateRounds := pick(s, 4, 2) // they are short, and a percentile needs pages
	const addRounds = 2
	newFirst := count + 1 // contacts that have no user yet
	stand := s.siteStand(ctx, count, count*(1+addRounds+1))
	idle := func(d time.Duration) {
		from := time.Now()
		s.rest(ctx, d)
		stand.idle = append(stand.idle, span{from, time.Now()})
	}
	var updates, adds []siteBurst
	idle(pick(s, 8*time.Second, 4*time.Second))
	for range updateRounds {
		updates = append(updates, stand.through(ctx, "update", 1, count, siteWebhooks*count/siteContacts))
		s.rest(ctx, time.Second)
		idle(3 * time.Second)
	}
	for range addRounds {
		adds = append(adds, stand.through(ctx, "add", newFirst, count, count))
		newFirst += count
		s.rest(ctx, time.Second)
		idle(3 * time.Second)
	}
	shared := stand.elsewhere(ctx, updateRounds, count, siteWebhooks*count/siteContacts)
	straightUpdate := stand.straight(ctx, "update", 1, count, siteWebhooks*count/siteContacts)
	straightAdd := stand.straight(ctx, "add", newFirst, count, count)

	rows := stand.compare(fmt.Sprintf("%d update webhooks over %d contacts", siteWebhooks*count/siteContacts, count), count, updates, straightUpdate)
	calm, during := stand.pages.times(stand.idle), stand.pages.times(shared)
	rows = append(rows, Row{
		What: "median of the page against idle while a stand-in stores the same updates, and this site none", Value: quantile(during, 0.5) / quantile(calm, 0.5),
		Note: fmt.Sprintf("%.0f ms; 95th percentile %.2f; what is left is Spillway, Redis and the stand-in CRM on the processors that the page needs, too", quantile(during, 0.5), quantile(during, 0.95)/quantile(calm, 0.95)),
	})
	return append(rows, stand.compare(fmt.Sprintf("%d add webhooks", count), count, adds, straightAdd)...)
}

// The CRM's bound here: two calls a contact, this many at once.
const siteCRMConcurrency = 64

func (s *stage) siteStand(ctx context.Context, users, contacts int) *siteStand {
	stand := &siteStand{s: s}
	stand.crm = s.startCRM(sandbox.CRMOptions{Latency: crmLatency}, contacts)
	stand.site = s.wordpress(stand.crm.url, false, "")
	stand.site.addUsers(users)
	server := redistest.Start(s, everySecond()...)
	stand.contacts, _ = s.contacts(server.Addr)
	stand.settings = map[string]string{"SPILLWAY_CRM_RATE": "1000", "SPILLWAY_CRM_CONCURRENCY": idOf(siteCRMConcurrency), "SPILLWAY_FIELDS": siteFields}
	for key, value := range s.guarded(stand.site.URL()) {
		stand.settings[key] = value
	}
	_, stand.webhooks, _ = s.ingest(ctx, server.URL(), stand.settings)
	stand.worker = s.worker(ctx, stand.site.target(server.URL(), stand.crm.url), stand.settings)
	for range 20 { // PHP compiles the page once
		status, _ := stand.site.Get("/")
		require.Equal(s, 200, status, "the page")
	}
	stand.pages = s.probe(ctx, stand.site.URL()+"/")
	return stand
}

// guarded are the settings with which the page guards the site.
func (s *stage) guarded(siteURL string) map[string]string {
	return map[string]string{"SPILLWAY_SITE_PROBE_URL": siteURL + "/"}
}

// through sends a burst to Spillway and waits until it has drained.
func (stand *siteStand) through(ctx context.Context, action string, first, contacts, webhooks int) siteBurst {
	stand.edits++
	stand.crm.edit(first, contacts, stand.edits)
	return stand.burst(func() {
		stand.s.send(ctx, load{
			Addr: stand.webhooks, Connections: siteConnections, Duration: time.Minute,
			Action: action, First: int64(first), Cycle: int64(contacts), Count: int64(webhooks),
		})
		stand.s.drained(ctx, stand.contacts, 2*time.Minute)
	}, "spillway", first, contacts)
}

// What the table of the plugin says of a request and of a contact that is lightly
// changed.
const likePluginStart, likePluginContact = 25 * time.Millisecond, 1500 * time.Microsecond

// elsewhere sends bursts of updates to a Spillway that stores them on a stand-in
// as slow as the site, in place of the stand's worker, which ends: what the page
// feels of them comes from sharing the machine.
func (stand *siteStand) elsewhere(ctx context.Context, rounds, contacts, webhooks int) (bursts []span) {
	s := stand.s
	stand.worker.stop()
	site, url := s.startSite(sandbox.SiteOptions{StartCost: likePluginStart, ContactCost: likePluginContact})
	for n := range contacts {
		site.CreateUser(sandbox.NewUser{Login: "user" + idOf(n+1), Email: idOf(n+1) + "@stand-in.example", ContactID: idOf(n + 1)})
	}
	server := redistest.Start(s, everySecond()...)
	pending, _ := s.contacts(server.Addr)
	ingest, addr, _ := s.ingest(ctx, server.URL(), stand.settings)
	worker := s.worker(ctx, standInTarget(server.URL(), stand.crm.url, url, site), stand.settings)
	defer ingest.stop()
	defer worker.stop()
	for range rounds {
		s.rest(ctx, 2*time.Second)
		stand.edits++
		stand.crm.edit(1, contacts, stand.edits)
		from := time.Now()
		s.send(ctx, load{
			Addr: addr, Connections: siteConnections, Duration: time.Minute,
			Action: "update", First: 1, Cycle: int64(contacts), Count: int64(webhooks),
		})
		s.drained(ctx, pending, 2*time.Minute)
		bursts = append(bursts, span{from, time.Now()})
	}
	return bursts
}

// straight sends a burst to the site itself, as without Spillway.
func (stand *siteStand) straight(ctx context.Context, action string, first, contacts, webhooks int) siteBurst {
	stand.edits++
	stand.crm.edit(first, contacts, stand.edits)
	return stand.burst(func() {
		stand.s.send(ctx, load{
			Addr: strings.TrimPrefix(stand.site.URL(), "http://"), Connections: siteConnections, Duration: 5 * time.Minute,
			Action: action, First: int64(first), Cycle: int64(contacts), Count: int64(webhooks),
		})
	}, "webhook", first, contacts)
}

func (stand *siteStand) burst(act func(), kind string, first, contacts int) siteBurst {
	from := time.Now()
	act()
	to := time.Now()
	require.Zero(stand.s, stand.site.wrong(stand.crm, first, contacts), "contacts that the site does not show as the CRM does, of %d", contacts)
	requests := stand.site.requests(kind, from, to)
	return siteBurst{span: span{from, to}, took: to.Sub(from).Seconds(), requests: len(requests), busy: workerSeconds(requests)}
}

// compare states what bursts through Spillway did against the same sent straight.
func (stand *siteStand) compare(what string, contacts int, ours []siteBurst, straight siteBurst) []Row {
	var took, busy, requests []float64
	var spans []span
	for _, b := range ours {
		took, busy, requests = append(took, b.took), append(busy, b.busy), append(requests, float64(b.requests))
		spans = append(spans, b.span)
	}
	idle, during, worst := stand.pages.times(stand.idle), stand.pages.times(spans), stand.pages.times([]span{straight.span})
	bound := float64(2*contacts) / siteCRMConcurrency * crmLatency.Seconds()
	aim := max(straight.took/10, bound)
	return []Row{
		{
			What: what + ": median of the page against idle", Value: quantile(during, 0.5) / quantile(idle, 0.5), Sense: AtMost, Bound: 1.15,
			Note: fmt.Sprintf("%.0f ms, idle %.0f ms; sent straight %.0f ms", quantile(during, 0.5), quantile(idle, 0.5), quantile(worst, 0.5)),
		},
		{
			What: "95th percentile of the page against idle", Value: quantile(during, 0.95) / quantile(idle, 0.95), Sense: AtMost, Bound: 1.3,
			Note: fmt.Sprintf("%.0f ms, idle %.0f ms; sent straight %.0f ms; %d pages", quantile(during, 0.95), quantile(idle, 0.95), quantile(worst, 0.95), len(during)),
		},
		{
			What: "PHP-worker seconds, sent straight against Spillway", Value: straight.busy / median(busy), Sense: AtLeast, Bound: 60,
			Note: fmt.Sprintf("%.0f s in %d requests against %.1f s in %.0f", straight.busy, straight.requests, median(busy), median(requests)),
		},
		{
			What: "time until all contacts are right, against the aim", Value: median(took) / aim, Sense: AtMost, Bound: 1,
			Note: fmt.Sprintf("%.1f s; sent straight %.1f s, the CRM's bound %.1f s", median(took), straight.took, bound),
		},
	}
}
