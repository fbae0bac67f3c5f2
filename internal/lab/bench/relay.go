package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/lab/wptest"
)

const (
	// relayCRMLatency is less than elsewhere: a relay's requests follow each other,
	// and WP Fusion waits for the CRM twice in each.
	relayCRMLatency = 30 * time.Millisecond
	// relaySenders is how many contacts are edited at once: as many as the site has
	// PHP workers, so that webhooks sent straight keep all of them busy.
	relaySenders = phpWorkers
	// relayDrain is how long the bursts may take on a busy machine.
	relayDrain = 15 * time.Minute
)

// secondEdit is how long after a contact's first edit its second one comes, as
// when a field changes and a workflow adds a tag: from 50 to 400 ms, each contact
// at its own time.
func secondEdit(id int) time.Duration {
	return time.Duration(50+id*37%350) * time.Millisecond
}

// relayRows edit each contact twice within a moment, with a webhook for each edit:
// straight to a stand-in for WP Fusion's endpoint on a real WordPress, and through
// Spillway in mode relay. The stand-in has WP Fusion's lock on contacts.
func relayRows(ctx context.Context, s *stage) []Row {
	count := pick(s, siteContacts, 60)
	stand := &relayStand{s: s, crm: s.startCRM(sandbox.CRMOptions{Latency: relayCRMLatency}, count)}
	name, source := wptest.FusionEndpoint(stand.crm.url, crmToken, accessKey)
	stand.site = s.wordpressOf(wptest.Options{Plugins: map[string]string{name: source}})
	stand.site.addUsers(count)
	server := redistest.Start(s, everySecond()...)
	contacts, _ := s.contacts(server.Addr)
	settings := map[string]string{"SPILLWAY_MODE": "relay", "SPILLWAY_ACCESS_KEYS": accessKey, "SPILLWAY_SITE_URL": stand.site.URL()}
	for key, value := range s.guarded(stand.site.URL()) {
		settings[key] = value
	}
	_, webhooks, _ := s.ingest(ctx, server.URL(), settings)
	s.workerOf(ctx, map[string]string{"SPILLWAY_REDIS_URL": server.URL()}, settings)
	for range 20 { // PHP compiles the page once
		status, _ := stand.site.Get("/")
		require.Equal(s, 200, status, "the page")
	}
	stand.pages = s.probe(ctx, stand.site.URL()+"/")
	from := time.Now()
	s.rest(ctx, pick(s, 8*time.Second, 4*time.Second))
	idle := stand.pages.times([]span{{from, time.Now()}})

	relayed := stand.burst(count, func() {
		stand.send(ctx, "http://"+webhooks, count)
		s.drained(ctx, contacts, relayDrain)
	})
	s.rest(ctx, 2*time.Second)
	straight := stand.burst(count, func() { stand.send(ctx, stand.site.URL(), count) })

	during, worst := stand.pages.times([]span{relayed.span}), stand.pages.times([]span{straight.span})
	return []Row{
		{
			What:  fmt.Sprintf("%d update webhooks over %d contacts: contacts that the site does not show as the CRM does, at the end", 2*count, count),
			Value: float64(relayed.wrong), Unit: "contacts", Sense: AtMost, Bound: 0, Note: fmt.Sprintf("sent straight %d", straight.wrong),
		},
		{
			What: "median of the page against idle", Value: quantile(during, 0.5) / quantile(idle, 0.5), Sense: AtMost, Bound: 1.3,
			Note: fmt.Sprintf("%.0f ms, idle %.0f ms; sent straight %.0f ms", quantile(during, 0.5), quantile(idle, 0.5), quantile(worst, 0.5)),
		},
		{
			What: "95th percentile of the page, sent straight against relay", Value: quantile(worst, 0.95) / quantile(during, 0.95), Sense: AtLeast, Bound: 1.5,
			Note: fmt.Sprintf("%.0f ms against %.0f ms, idle %.0f ms; %d pages", quantile(worst, 0.95), quantile(during, 0.95), quantile(idle, 0.95), len(during)),
		},
		{
			What: "PHP-worker seconds, sent straight against relay", Value: straight.busy / relayed.busy, Sense: AtLeast, Bound: 1.2,
			Note: fmt.Sprintf("%.0f s in %d requests against %.0f s in %d; done after %.0f s and %.0f s", straight.busy, straight.requests, relayed.busy, relayed.requests, straight.took, relayed.took),
		},
	}
}

type relayStand struct {
	s     *stage
	crm   *crm
	site  *wordpress
	pages *prober
	edits int
}

// relayBurst is a burst and what it left.
type relayBurst struct {
	siteBurst
	wrong int
}

func (stand *relayStand) burst(contacts int, act func()) relayBurst {
	from := time.Now()
	act()
	to := time.Now()
	requests := stand.site.requests("webhook", from, to)
	return relayBurst{
		siteBurst: siteBurst{span: span{from, to}, took: to.Sub(from).Seconds(), requests: len(requests), busy: workerSeconds(requests)},
		wrong:     stand.site.wrong(stand.crm, 1, contacts),
	}
}

// send edits each contact twice and sends a webhook after each edit, without
// waiting for the first one's answer before the second edit.
func (stand *relayStand) send(ctx context.Context, address string, contacts int) {
	first, second := stand.edits+1, stand.edits+2
	stand.edits += 2
	client := &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 2 * relaySenders}}
	failures := make(chan error, 2*contacts)
	var senders sync.WaitGroup
	for lane := range relaySenders {
		senders.Go(func() {
			for id := lane + 1; id <= contacts; id += relaySenders {
				var hooks sync.WaitGroup
				hook := func() { failures <- sendHook(ctx, client, address, id) }
				stand.crm.edit(id, 1, first)
				hooks.Go(hook)
				pause := time.NewTimer(secondEdit(id))
				select {
				case <-ctx.Done():
				case <-pause.C:
				}
				stand.crm.edit(id, 1, second)
				hooks.Go(hook)
				hooks.Wait()
			}
		})
	}
	senders.Wait()
	close(failures)
	for err := range failures {
		require.NoError(stand.s, err, "sending a webhook")
	}
}

func sendHook(ctx context.Context, client *http.Client, address string, id int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/?wpf_action=update&access_key=%s&contact_id=%d", address, accessKey, id), nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("answered with status %d", response.StatusCode)
	}
	return nil
}
