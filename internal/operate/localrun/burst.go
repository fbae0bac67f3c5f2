package localrun

import (
	"context"
	"fmt"
	"time"

	"spillway/internal/config"
	"spillway/internal/lab/sandbox"
	"spillway/internal/operate/progress"
)

// connections is how many webhooks the CRM is taken to send at once.
const connections = 50

// show sends the burst to the first site and a lone webhook to each of the others,
// waits until the burst has drained, and says what happened.
func show(ctx context.Context, options Options, shown []standIn) error {
	settings, stand := shown[0].settings, shown[0].stand
	for _, one := range shown {
		one.stand.CRM.Seed(options.Contacts)
	}
	before, err := statsOf(ctx, settings)
	if err != nil {
		return err
	}
	to := ""
	if len(shown) > 1 {
		to = " to " + settings.Name
	}
	say(options.Out, "Sending %d webhooks over %d contacts%s, %d at once.\n", options.Webhooks, options.Contacts, to, connections)
	bars := progress.New(options.Out)
	defer bars.Wait()
	sending := bars.Bar("accepted", 0, int64(options.Webhooks))
	began := time.Now()
	result, err := sandbox.Burst(ctx, sandbox.BurstOptions{
		URL: "http://" + settings.IngestAddr, Key: settings.AccessKeys[0],
		Webhooks: options.Webhooks, Contacts: options.Contacts, Connections: connections,
		Progress: func(_, accepted int) { sending.Set(int64(accepted)) },
	})
	if err != nil {
		return err
	}
	absorbed := time.Since(began)
	sending.Set(int64(result.Accepted))
	lone := loneWebhooks(ctx, shown)
	if err = drain(ctx, settings, bars); err != nil {
		return err
	}
	took := time.Since(began)
	bars.Wait()
	after, err := statsOf(ctx, settings)
	if err != nil {
		return err
	}
	site, crm := stand.Site.Stats(), stand.CRM.Stats()
	say(options.Out, "\n")
	row := func(name, format string, args ...any) {
		say(options.Out, "  %-20s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("webhooks accepted", "%d of %d in %.1f s (%.0f/s); latency p50 %s, p99 %s",
		result.Accepted, options.Webhooks, absorbed.Seconds(), result.PerSecond, millis(result.P50), millis(result.P99))
	row("coalesced", "%d of them, into contacts that had outstanding work", after.Coalesced-before.Coalesced)
	row("passes synced", "%d, all done %.1f s after the first webhook", after.Synced-before.Synced, took.Seconds())
	row("passes failed", "%d; parked contacts %d", after.Failed-before.Failed, after.Parked)
	row("site requests", "%d for %d contacts (%.1f each)", site.Requests, site.Contacts, ratio(site.Contacts, site.Requests))
	row("CRM calls", "%d", crm.Total)
	row("users on the site", "%d", site.Users)
	row("passwords returned", "%d", stand.CRM.Received(settings.ReturnPasswordField))
	for i, said := range lone {
		row("an add on "+shown[i+1].settings.Name, "%s", said)
	}
	return nil
}

// loneWebhooks sends an add to each site but the first, whose queue is full, and
// says how long each took until its user was there and its password in the CRM.
func loneWebhooks(ctx context.Context, shown []standIn) (said []string) {
	for _, one := range shown[1:] {
		before, err := statsOf(ctx, shown[0].settings)
		if err != nil {
			said = append(said, err.Error())
			continue
		}
		began := time.Now()
		var answer struct{ Status string }
		hook := fmt.Sprintf("http://%s/?wpf_action=add&access_key=%s&contact_id=1&wait=30", one.settings.IngestAddr, one.settings.AccessKeys[0])
		if err := get(ctx, hook, &answer); err != nil {
			said = append(said, err.Error())
			continue
		}
		said = append(said, fmt.Sprintf("%s after %.1f s, while %d contacts of %s waited",
			answer.Status, time.Since(began).Seconds(), before.Pending+before.Active+before.Retrying, shown[0].settings.Name))
	}
	return said
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// drain waits until no contact has outstanding work but parked ones.
func drain(ctx context.Context, settings config.Config, bars *progress.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	var syncing *progress.Bar
	var total int64
	for {
		stats, err := statsOf(ctx, settings)
		if err != nil {
			return err
		}
		left := stats.Pending + stats.Active + stats.Retrying
		if syncing == nil {
			total = max(left, 1)
			syncing = bars.Bar("synced", 0, total)
		}
		syncing.Set(total - left)
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until the contacts are synced: %w (%d left)", ctx.Err(), left)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
