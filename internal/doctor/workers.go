package doctor

import (
	"context"
	"fmt"
	"slices"

	"github.com/hibiken/asynq"

	"spillway/internal/pending"
)

// workers sees whether anybody works, and whether the work gets done.
func (e *examination) workers(ctx context.Context) {
	if e.rdb == nil {
		e.skip("workers", "Redis does not answer")
		return
	}
	contacts := pending.New(e.rdb, pending.DefaultQueue)
	e.alive(contacts)
	e.queue(ctx, contacts)
}

func (e *examination) alive(contacts *pending.Contacts) {
	const check = "workers"
	servers, err := asynq.NewInspectorFromRedisClient(e.rdb).Servers()
	if err != nil {
		e.fail(check, "see the finding on Redis", "reading the list of workers: %v", err)
		return
	}
	hosts, busy := []string{}, 0
	for _, server := range servers {
		if _, ours := server.Queues[contacts.Queue()]; ours && server.Status == "active" {
			hosts = append(hosts, server.Host)
			busy += len(server.ActiveWorkers)
		}
	}
	if len(hosts) == 0 {
		e.fail(check, "start one: cmd/worker, systemctl start spillway-worker@8082, or `spillway run`",
			"no worker is alive: webhooks are kept and nobody syncs them")
		return
	}
	slices.Sort(hosts)
	e.ok(check, "%d alive (on %d machines), %d passes under way", len(hosts), len(slices.Compact(hosts)), busy)
}

func (e *examination) queue(ctx context.Context, contacts *pending.Contacts) {
	stats, err := contacts.Stats(ctx)
	if err != nil {
		e.fail("queue", "see the finding on Redis", "%v", err)
		return
	}
	text := fmt.Sprintf("%d contacts wait, %d under way, %d wait for another attempt", stats.Pending, stats.Active, stats.Retrying)
	e.ok("queue", "%s", text)
	if stats.Parked > 0 {
		e.warn("parked contacts", "see why with `spillway parked`, and then `spillway parked retry`", "%d contacts failed for good", stats.Parked)
	} else {
		e.ok("parked contacts", "none")
	}
}

