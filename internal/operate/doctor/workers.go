package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hibiken/asynq"

	"spillway/internal/assembly"
	"spillway/internal/pending"
	"spillway/internal/throttle"
)

// longWait is how long a contact waits before it is worth a warning. A burst of
// many contacts takes longer, and is no reason to warn.
const longWait = 30 * time.Minute

// workers sees whether anybody works, and whether the work gets done.
func (e *examination) workers(ctx context.Context) {
	if e.rdb == nil {
		e.skip("workers", "Redis does not answer")
		return
	}
	contacts := assembly.Contacts(e.rdb, e.settings)
	e.alive(contacts)
	e.queue(ctx, contacts)
	e.systems(ctx)
}

// systems tells whether the workers call the CRM and the site at present.
func (e *examination) systems(ctx context.Context) {
	const check = "breakers"
	statuses, err := assembly.Systems(e.rdb, e.settings).Read(ctx)
	if err != nil {
		e.skip(check, "%v", err)
		return
	}
	calm := true
	for _, status := range statuses {
		if status.State != throttle.Closed {
			calm = false
			e.warn(check, "nothing, if it was only away for a moment: a probe finds out when it is back; otherwise see the finding on it",
				"the workers leave the %s alone since %s: %s", status.System, status.Since.UTC().Format(time.DateTime+" UTC"), status.Reason)
		}
	}
	for _, status := range statuses {
		if held := status.Facts["held_seconds"]; held > 0 {
			calm = false
			e.warn(check, "nothing: contacts wait in their order; if it comes often, lower SPILLWAY_CRM_RATE",
				"the %s answered 429 and asked all callers to wait, for another %.0f s", status.System, held)
		}
	}
	if calm {
		e.ok(check, "nothing keeps the workers from what they call")
	}
}

func (e *examination) alive(contacts *pending.Contacts) {
	const check = "workers"
	servers, err := asynq.NewInspectorFromRedisClient(e.rdb).Servers()
	if err != nil {
		e.fail(check, redisRemedy(err), "reading the list of workers: %v", err)
		return
	}
	hosts, busy := []string{}, 0
	for _, server := range servers {
		serves := func(queue string) bool { _, ok := server.Queues[queue]; return ok }
		if slices.ContainsFunc(contacts.Queues(), serves) && server.Status == "active" {
			hosts = append(hosts, server.Host)
			busy += len(server.ActiveWorkers)
		}
	}
	if len(hosts) == 0 {
		e.fail(check, "start one: cmd/worker, systemctl start spillway-worker@8082, or `spillway run`",
			"no worker is alive: webhooks are kept, and no contact is synced")
		return
	}
	slices.Sort(hosts)
	e.ok(check, "%d alive (machines: %d), %d passes under way", len(hosts), len(slices.Compact(hosts)), busy)
}

func (e *examination) queue(ctx context.Context, contacts *pending.Contacts) {
	stats, err := contacts.Stats(ctx)
	if err != nil {
		e.fail("queue", redisRemedy(err), "%v", err)
		return
	}
	text := fmt.Sprintf("%d contacts wait, %d under way, %d wait for another attempt", stats.Pending, stats.Active, stats.Retrying)
	waits := time.Duration(0)
	if !stats.Oldest.IsZero() {
		waits = time.Since(stats.Oldest).Round(time.Second)
		text += fmt.Sprintf("; the longest for %s", waits)
	}
	switch {
	case stats.Paused:
		e.warn("queue", "go on with `spillway resume`", "paused: %s", text)
	case waits > longWait:
		e.warn("queue", "see the findings on the workers, the CRM and the site, and `spillway contact ID` of one that waits", "%s", text)
	default:
		e.ok("queue", "%s", text)
	}
	if stats.Parked > 0 {
		e.warn("parked contacts", "see why with `spillway parked`, and then `spillway parked retry`", "%d contacts failed for good", stats.Parked)
	} else {
		e.ok("parked contacts", "none")
	}
}
