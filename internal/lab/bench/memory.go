package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
)

// memoryRows measure what timelines cost, and a Redis that they would fill.
func memoryRows(ctx context.Context, s *stage) []Row {
	return append(idleContacts(ctx, s), smallRedis(ctx, s)...)
}

// idleContacts measures what is left in Redis of contacts whose work is done.
func idleContacts(ctx context.Context, s *stage) []Row {
	// A rewrite of the file would take memory of its own.
	server := redistest.Start(s, append(everySecond(), "--auto-aof-rewrite-percentage", "0")...)
	contacts, rdb := s.contacts(server.Addr)
	count := pick(s, 2000, 500)
	var rows []Row
	for _, passes := range []int{1, 20} {
		require.NoError(s, rdb.FlushDB(ctx).Err())
		s.pass(ctx, contacts, rdb, 1, 1) // scripts and counters come first
		before := s.usedMemory(ctx, rdb)
		for range passes {
			s.pass(ctx, contacts, rdb, firstID, count)
		}
		rows = append(rows, Row{
			What:  fmt.Sprintf("memory of Redis per idle contact after %d pass(es) of one webhook each", passes),
			Value: (s.usedMemory(ctx, rdb) - before) / float64(count), Unit: "bytes", Sense: AtMost, Bound: 2500,
			Note: fmt.Sprintf("%d contacts", count),
		})
	}
	return rows
}

// smallRedis sends a burst to an installation whose Redis has 64 MB and would be
// filled by the timelines of its contacts.
func smallRedis(ctx context.Context, s *stage) []Row {
	const of = "64 MB of Redis, "
	known, burst := pick(s, 100_000, 60_000), pick(s, 20_000, 10_000)
	server := redistest.Start(s, append(everySecond(), "--maxmemory", "64mb")...)
	stand := s.startCRM(sandbox.CRMOptions{}, burst)
	site, siteURL := s.startSite(sandbox.SiteOptions{StartCost: -1, ContactCost: -1})
	ingest, webhooks, admin := s.ingest(ctx, server.URL(), nil)
	defer ingest.stop()

	_, rdb := s.contacts(server.Addr)
	keeper := history.NewKeeper(rdb)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go keeper.Run(watching, func(error) {})
	contacts := pending.New(rdb, pending.Options{Room: keeper})
	for first := 0; first < known; first += 5000 {
		for range 4 {
			s.pass(ctx, contacts, rdb, firstID+first, 5000)
		}
	}
	filling, err := keeper.Filling(ctx)
	require.NoError(s, err)

	p := s.worker(ctx, standInTarget(server.URL(), stand.url, siteURL, site), map[string]string{
		"SPILLWAY_CRM_RATE": "10000", "SPILLWAY_CRM_CONCURRENCY": "64",
	})
	defer p.stop()
	side := &side{name: "64 MB", process: ingest, addr: webhooks, memory: "http://" + admin + "/metrics"}
	seen := side.round(ctx, s, load{Connections: connections, Duration: time.Minute, Count: int64(burst), First: 1})
	s.drained(ctx, contacts, 5*time.Minute)
	after := s.stats(ctx, contacts)
	return []Row{
		{
			What: of + fmt.Sprintf("timelines of %d contacts: its share when a burst begins", known), Value: filling.Share, Sense: AtMost, Bound: 0.72,
			Note: "four passes each; nothing is added from 65 % on",
		},
		{What: of + fmt.Sprintf("a burst over %d contacts on top: webhooks refused", burst), Value: float64(seen.Refused), Unit: "webhooks", Sense: AtMost, Bound: 0, Note: seen.Problem},
		{What: of + "the same: contacts left when it has drained", Value: float64(after.Pending + after.Active + after.Retrying + after.Parked), Unit: "contacts", Sense: AtMost, Bound: 0},
	}
}

// pass takes a webhook of each of count contacts through a pass, as workers do.
func (s *stage) pass(ctx context.Context, contacts *pending.Contacts, rdb *redis.Client, first, count int) {
	submitted := make([]pending.Webhook, 0, count)
	for n := range count {
		submitted = append(submitted, pending.Webhook{
			Ref:    contact.Ref{Site: contact.DefaultSite, ID: idOf(first + n)},
			Intent: contact.Intent{Action: contact.Update}, Receipt: contact.Receipt{RequestID: fmt.Sprintf("r%010d", n)},
		})
	}
	require.NoError(s, contacts.SubmitAll(ctx, submitted))
	const keys = "asynq:{spillway}:"
	var lanes sync.WaitGroup
	failures := make(chan error, 32)
	for range 32 {
		lanes.Go(func() {
			for {
				task, err := rdb.RPop(ctx, keys+"pending").Result()
				if errors.Is(err, redis.Nil) {
					return
				}
				if err == nil {
					err = s.finish(ctx, contacts, task)
				}
				if err == nil {
					err = rdb.Del(ctx, keys+"t:"+task).Err()
				}
				if err != nil {
					failures <- err
					return
				}
			}
		})
	}
	lanes.Wait()
	close(failures)
	require.NoError(s, <-failures, "passing contacts")
}

func (s *stage) finish(ctx context.Context, contacts *pending.Contacts, task string) error {
	claim, err := contacts.Claim(ctx, task)
	if err != nil {
		return err
	}
	event := history.Event{
		Time: time.Now().UTC(), Kind: history.Synced, Action: claim.Intent.Action.String(), Outcome: "updated", UserID: 12345, Role: "customer",
		Waited: claim.Waited().Milliseconds(), Took: 250, Webhooks: claim.Webhooks, Covered: claim.Covered, RequestID: claim.RequestID,
	}
	_, err = claim.Finish(ctx, event.Encode())
	return err
}
