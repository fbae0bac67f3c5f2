package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
	"spillway/internal/lab/sandbox"
)

const (
	// holdAsked is how long the CRM makes all callers wait at the end of a run:
	// longer than a pass waits.
	holdAsked = 30 * time.Second
	// holdWatched is how long nothing may happen then.
	holdWatched = 8 * time.Second
	// holdContacts wait meanwhile.
	holdContacts = 40
)

// hold lets the CRM ask for a pause while contacts wait, when all else is calm.
// No pass may begin, fail or be counted before it is over, since none could end.
func (r *run) hold(ctx context.Context, report *Report) error {
	if err := r.crm.Fail(sandbox.Fault{Status: 429, RetryAfter: holdAsked}); err != nil {
		return err
	}
	spoilt := r.crm.Stats().Spoilt
	var senders sync.WaitGroup
	sent := 0
	for _, p := range r.people {
		if p.tenant == nil && !p.poisoned && p.addPromised && sent < holdContacts {
			sent++
			random := rand.New(rand.NewPCG(r.options.Seed, uint64(p.id)))
			senders.Go(func() { r.senders.one(p, contact.Update, random) })
		}
	}
	senders.Wait()
	client := r.store.client()
	defer client.Close()
	calm := func(ctx context.Context) error {
		if r.crm.Stats().Spoilt == spoilt {
			return errors.New("no call has met the 429 yet")
		}
		stats, err := r.stats(ctx)
		if err == nil && stats.Active+stats.Retrying > 0 {
			err = fmt.Errorf("%d contacts are active and %d retrying during a hold", stats.Active, stats.Retrying)
		}
		return err
	}
	if err := poll(ctx, holdAsked/2, "waiting for passes under way to end in a hold", func(ctx context.Context) error {
		defer wait(ctx, 50*time.Millisecond)
		return calm(ctx)
	}); err != nil {
		report.found(&report.Hurried, "%v", err)
		return nil
	}
	wait(ctx, time.Second) // for the last wake-up to be done
	before, err := r.ended(ctx, client)
	if err != nil {
		return err
	}
	for until := time.Now().Add(holdWatched); time.Now().Before(until); wait(ctx, 100*time.Millisecond) {
		if err := calm(ctx); err != nil {
			report.found(&report.Hurried, "%v", err)
		}
	}
	after, err := r.ended(ctx, client)
	if err == nil && after != before {
		report.found(&report.Hurried, "%d wake-ups were taken and %d passes failed during a hold", after.wakeUps-before.wakeUps, after.failed-before.failed)
	}
	return err
}

// endings are what has ended so far.
type endings struct{ wakeUps, failed int64 }

func (r *run) ended(ctx context.Context, client redis.UniversalClient) (e endings, err error) {
	done, err := client.Get(ctx, "asynq:{spillway}:processed").Int64()
	if err != nil {
		return endings{}, fmt.Errorf("reading how many wake-ups are done: %w", err)
	}
	stats, err := r.stats(ctx)
	return endings{wakeUps: done, failed: int64(stats.Failed)}, err
}
