package assembly

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/robfig/cron/v3"
	"github.com/rs/zerolog"

	"spillway/internal/admin/comparisons"
	"spillway/internal/config"
	"spillway/internal/operate/progress"
	"spillway/internal/operate/reconcile"
	"spillway/internal/pulse"
	"spillway/internal/site"
	"spillway/internal/vault"
)

const (
	// nightlyLook is how often a worker checks whether a comparison is due.
	nightlyLook = 30 * time.Second
	// nightlyLate is how late a comparison may begin, for example because the
	// worker that had begun it was stopped.
	nightlyLate = 6 * time.Hour
	// nightlyPatience is how long a scheduled comparison waits for a system that
	// is away.
	nightlyPatience = time.Hour
)

// nightly compares a site with its CRM whenever SPILLWAY_RECONCILE says so, once
// over all workers, until ctx ends.
func nightly(ctx context.Context, rdb redis.UniversalClient, settings config.Config, log zerolog.Logger) {
	if settings.Reconcile == "" || settings.Mode == config.Relay { // nobody tells what the site stores
		return
	}
	schedule, err := config.ParseSchedule(settings.Reconcile)
	if err != nil { // the settings' check has parsed it
		return
	}
	complain := seldom(log, "the scheduled comparison waits")
	look := time.NewTicker(nightlyLook)
	defer look.Stop()
	for {
		if err := compareIfDue(ctx, rdb, settings, schedule, log); err != nil && ctx.Err() == nil {
			complain(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// lastDue returns the newest time of a schedule within nightlyLate before now;
// zero: there is none.
func lastDue(schedule cron.Schedule, now time.Time) (due time.Time) {
	for next := schedule.Next(now.Add(-nightlyLate)); !next.IsZero() && !next.After(now); next = schedule.Next(next) {
		due = next
	}
	return due
}

// compareIfDue compares if a comparison is due and nobody has done it or is
// doing it.
func compareIfDue(ctx context.Context, rdb redis.UniversalClient, settings config.Config, schedule cron.Schedule, log zerolog.Logger) error {
	lock := reconcile.NewLock(rdb, settings.Name)
	now, err := lock.Now(ctx)
	if err != nil {
		return err
	}
	due := lastDue(schedule, now)
	if due.IsZero() {
		return nil
	}
	done, err := lock.Done(ctx)
	if err != nil || !done.Before(due) {
		return err
	}
	held, release, err := lock.Take(ctx)
	var running *reconcile.Running
	if errors.As(err, &running) {
		return nil // another worker compares, or a person
	}
	if err != nil {
		return err
	}
	defer release()
	if done, err = lock.Done(ctx); err != nil || !done.Before(due) {
		return err // another worker has while this one waited
	}
	log.Info().Time("due", due).Msg("comparing the CRM's tags with the site's")
	began := time.Now()
	result, calls, err := compareNow(held, rdb, settings)
	if ctx.Err() != nil {
		return ctx.Err() // another worker does it
	}
	store := comparisons.New(rdb)
	if err != nil {
		log.Warn().Err(err).Msg("the comparison did not come to its end")
		return errors.Join(store.Fail(ctx, settings.Name, now, err.Error()), lock.SetDone(ctx, due))
	}
	log.Info().Int("differences", result.Total()).Int64("crm_calls", calls).Dur("took", time.Since(began)).Msg("compared the CRM's tags with the site's")
	return errors.Join(store.Write(ctx, result.Kept(settings.Name, comparisons.BySchedule, calls)), lock.SetDone(ctx, due))
}

// compareNow compares a site with its CRM. It uses clients of its own, since its
// calls do not belong to passes.
func compareNow(ctx context.Context, rdb redis.UniversalClient, settings config.Config) (result reconcile.Result, calls int64, err error) {
	var secrets *vault.Vault
	if len(settings.SecretKey) > 0 {
		if secrets, err = vault.New(rdb, settings.SecretKey, VaultPrefix); err != nil {
			return result, 0, fmt.Errorf("SPILLWAY_SECRET_KEY: %w", err)
		}
	}
	var made atomic.Int64
	crm, _, err := CRM(CRMOptions{
		Settings: settings.CRM, Redis: rdb, Vault: secrets, Roots: settings.Roots, Observe: func(pulse.Call) { made.Add(1) },
	})
	if err != nil {
		return result, 0, err
	}
	client, err := site.New(site.Options{
		URL: settings.Site.WithServer(settings.Site.URL), User: settings.Site.User, AppPassword: settings.Site.AppPassword, Roots: settings.Roots,
	})
	if err != nil {
		return result, 0, err
	}
	defer client.Close(context.WithoutCancel(ctx))
	result, err = reconcile.Run(ctx, reconcile.Options{
		CRM: crm, Site: client, Contacts: Contacts(rdb, settings), Name: settings.Name, Now: reconcile.NewLock(rdb, settings.Name).Now,
		Journal: reconcile.NewJournal(), Progress: progress.New(io.Discard), Patience: nightlyPatience,
	})
	return result, made.Load(), err
}

// lastComparisons returns what reads the last comparisons of sites.
func lastComparisons(rdb redis.UniversalClient, names func() []string) func(context.Context) ([]comparisons.Comparison, error) {
	store := comparisons.New(rdb)
	return func(ctx context.Context) (all []comparisons.Comparison, err error) {
		for _, name := range names() {
			last, ok, err := store.Read(ctx, name)
			if err != nil {
				return nil, err
			}
			if ok {
				all = append(all, last)
			}
		}
		return all, nil
	}
}
