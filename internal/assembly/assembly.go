// Package assembly builds the programs from their settings: which parts there
// are, how they hang together, and in which order they start and stop. It
// decides nothing else.
package assembly

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"spillway/internal/admin/addresses"
	"spillway/internal/admin/refusals"
	"spillway/internal/admin/roster"
	"spillway/internal/assembly/metrics"
	"spillway/internal/config"
	"spillway/internal/ingest"
	"spillway/internal/observe"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
	"spillway/internal/redisconn"
	"spillway/internal/site"
	"spillway/internal/site/guard"
	"spillway/internal/syncer"
	"spillway/internal/throttle"
	"spillway/internal/vault"
	"spillway/internal/webhook"
	"spillway/internal/worker"
)

// Ingest runs the ingest server and the admin address until ctx ends. SIGHUP
// makes it read its access keys and certificate again.
func Ingest(ctx context.Context, settings config.Config, log zerolog.Logger) error {
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	defer signal.Stop(hangUps)
	return IngestIn(ctx, settings, log, hangUps)
}

// IngestIn is [Ingest] in a process whose signals are someone else's.
func IngestIn(ctx context.Context, settings config.Config, log zerolog.Logger, hangUps <-chan os.Signal) error {
	fast, err := redisconn.Open(settings.RedisURL, redisconn.ForIngest, redisconn.WithRoots(settings.Roots))
	if err != nil {
		return fmt.Errorf("SPILLWAY_REDIS_URL: %w", err)
	}
	defer fast.Close()
	patient, err := redisconn.Open(settings.RedisURL, redisconn.ForWorker, redisconn.WithRoots(settings.Roots))
	if err != nil {
		return fmt.Errorf("SPILLWAY_REDIS_URL: %w", err)
	}
	defer patient.Close()
	keys, err := webhook.NewKeyring(settings.AccessKeys)
	if err != nil {
		return fmt.Errorf("SPILLWAY_ACCESS_KEYS: %w", err)
	}
	keeper := history.NewKeeper(patient)
	contacts := newContacts(fast, settings, keeper)
	adopted, err := adopt(ctx, contacts, log)
	if err != nil {
		return err
	}
	registry := observe.NewRegistry()
	systems, refused := Systems(patient, settings), refusals.New(patient)
	registry.MustRegister(
		metrics.Contacts(newContacts(patient, settings, nil)), metrics.Systems(systems), metrics.Redis(patient),
		metrics.NewCreations(settings.Name, throttle.NewCreations(patient, settings.Name, 0)),
		metrics.Queues(patient, contacts.Queues()), metrics.Comparisons(lastComparisons(patient, settings.Name)),
		metrics.Pools(map[string]redis.UniversalClient{"ingest": fast, "admin": patient}),
	)
	traces, err := observe.NewTraces(ctx, "spillway-ingest", log)
	if err != nil {
		return err
	}
	defer traces.Stop(ctx)
	intake := pending.NewIntake(contacts)
	endings := pending.NewEndings(intake, patient)
	server := ingest.New(ingest.Options{
		Tracer: traces, Addr: settings.IngestAddr, Keys: keys, Pending: intake, Refusals: refused,
		Endings: endings, AnswerWait: settings.AnswerWait, AnswerWaiters: settings.AnswerWaiters, Held: held(systems),
		Site: settings.Name, Certificate: settings.Certificate, TrustedProxies: settings.TrustedProxies,
		Log: log, Registerer: registry,
	})
	health := observe.Handler(registry, append(systemChecks(systems), observe.RedisCheck(patient))...)
	admin := newAdmin(patient, newContacts(patient, settings, nil), systems, settings, health, log)
	group, ctx := errgroup.WithContext(ctx)
	if !adopted {
		group.Go(func() error { return adoptLater(ctx, contacts) })
	}
	group.Go(func() error { keeper.Run(ctx, seldom(log, unwatched)); return nil })
	group.Go(func() error { refused.Run(ctx, seldom(log, "the counts of refusals wait")); return nil })
	group.Go(func() error {
		endings.Run(ctx, seldom(log, "nobody hears of passes: answers do not wait for them"))
		return nil
	})
	group.Go(func() error { announce(ctx, patient, roster.Ingest, settings, nil, log); return nil })
	group.Go(func() error { return admin.Run(ctx) })
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error {
		rotate(ctx, server, settings, hangUps, log)
		return nil
	})
	group.Go(func() error { return observe.Serve(ctx, settings.AdminAddr, admin, log) })
	log.Info().Str("webhooks", settings.IngestAddr).Str("admin", settings.AdminAddr).Msg("ingest is up")
	return group.Wait()
}

// Worker runs a worker and its health address until ctx ends and its passes
// are done.
func Worker(ctx context.Context, settings config.Config, log zerolog.Logger) error {
	rdb, err := redisconn.Open(settings.RedisURL, redisconn.ForWorker, redisconn.WithRoots(settings.Roots))
	if err != nil {
		return fmt.Errorf("SPILLWAY_REDIS_URL: %w", err)
	}
	defer rdb.Close()
	registry := observe.NewRegistry()
	registry.MustRegister(metrics.Redis(rdb), metrics.Pools(map[string]redis.UniversalClient{"worker": rdb}))
	parts, err := newParts(rdb, settings, registry, log)
	if err != nil {
		return err
	}
	keeper := history.NewKeeper(rdb)
	contacts := newContacts(rdb, settings, keeper)
	adopted, err := adopt(ctx, contacts, log)
	if err != nil {
		return err
	}
	systems := Systems(rdb, settings)
	traces, err := observe.NewTraces(ctx, "spillway-worker", log)
	if err != nil {
		return err
	}
	defer traces.Stop(ctx)
	w := worker.New(worker.Options{
		Tracer: traces, Redis: rdb, Contacts: contacts, Syncer: parts.syncer, Gate: parts.gate,
		Concurrency: settings.WorkerConcurrency, Log: log, Registerer: registry,
	})
	health := observe.Handler(registry, append(systemChecks(systems), observe.RedisCheck(rdb))...)

	// The health address answers until the last pass is done.
	healthCtx, stopHealth := context.WithCancel(context.WithoutCancel(ctx))
	defer stopHealth()
	var group errgroup.Group
	workCtx, stopWork := context.WithCancel(ctx)
	group.Go(func() error {
		defer stopWork() // without its address nobody would notice the worker
		return observe.Serve(healthCtx, settings.WorkerAddr, health, log)
	})
	if !adopted {
		group.Go(func() error {
			err := adoptLater(workCtx, contacts)
			if err != nil {
				stopWork()
			}
			return err
		})
	}
	group.Go(func() error { keeper.Run(healthCtx, seldom(log, unwatched)); return nil })
	group.Go(func() error { announce(healthCtx, rdb, roster.Worker, settings, parts.gate.UnderWay, log); return nil })
	group.Go(func() error {
		defer stopHealth()
		return errors.Join(w.Run(workCtx), parts.site.Close(context.WithoutCancel(ctx)))
	})
	if page := settings.Site.ProbeURL; page != "" {
		group.Go(func() error {
			guard.NewProber(parts.guard, settings.Site.WithServer(page), settings.Roots).Run(healthCtx, func(err error) { log.Warn().Err(err).Msg("the page is not measured") })
			return nil
		})
	}
	group.Go(func() error { nightly(workCtx, rdb, settings, log); return nil })
	log.Info().Str("health", settings.WorkerAddr).Int("concurrency", settings.WorkerConcurrency).Msg("worker is up")
	return group.Wait()
}

// unwatched is what the log says of a keeper's errors.
const unwatched = "Redis's memory is not watched"

func newContacts(rdb redis.UniversalClient, settings config.Config, room pending.Room) *pending.Contacts {
	return pending.New(rdb, pending.Options{Site: settings.Name, Queues: settings.Queues, Settle: settings.Settle, Room: room})
}

// adopt refuses a start with another number of queues than Redis holds contacts
// in. While Redis is away nothing is known: checked is false, and the program
// starts all the same.
func adopt(ctx context.Context, contacts *pending.Contacts, log zerolog.Logger) (checked bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err = contacts.Adopt(ctx)
	var other *pending.OtherQueues
	if errors.As(err, &other) {
		return true, err
	}
	if err != nil {
		log.Warn().Err(err).Msg("the number of queues was not checked; it is once Redis answers")
	}
	return err == nil, nil
}

// adoptLater goes on asking until Redis answers or ctx ends. A worker with a
// wrong number would otherwise look into queues that nobody fills, healthy and
// idle.
func adoptLater(ctx context.Context, contacts *pending.Contacts) error {
	const pause = time.Second
	again := time.NewTicker(pause)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
		if checked, err := adopt(ctx, contacts, zerolog.Nop()); checked {
			return err
		}
	}
}

// parts are what a pass needs.
type parts struct {
	site   *site.Client
	guard  *guard.Guard
	gate   *throttle.Gate
	syncer *syncer.Syncer
}

func newParts(rdb redis.UniversalClient, settings config.Config, registry prometheus.Registerer, log zerolog.Logger) (*parts, error) {
	var secrets *vault.Vault
	if len(settings.SecretKey) > 0 {
		var err error
		if secrets, err = vault.New(rdb, settings.SecretKey, VaultPrefix); err != nil {
			return nil, fmt.Errorf("SPILLWAY_SECRET_KEY: %w", err)
		}
	}
	crmBreaker := throttle.NewBreaker(rdb, throttle.CRM, settings.Name, 10)
	// A request to the site carries many contacts: fewer of them tell as much.
	siteBreaker := throttle.NewBreaker(rdb, throttle.Site, settings.Name, 5)
	crm, budget, err := CRM(CRMOptions{
		Settings: settings.CRM, Redis: rdb, Vault: secrets, Roots: settings.Roots,
		Breaker: crmBreaker, Observe: metrics.CRMCalls(registry),
	})
	if err != nil {
		return nil, err
	}
	places := throttle.NewPlaces(rdb, throttle.PlacesKey(settings.Name))
	slots, err := throttle.NewSlots(rdb, throttle.SlotsKey(settings.Name), settings.Site.Concurrency)
	if err != nil {
		return nil, fmt.Errorf("SPILLWAY_SITE_CONCURRENCY: %w", err)
	}
	pressing, err := guard.New(rdb, settings.Name, settings.Site.Batch)
	if err != nil {
		return nil, fmt.Errorf("SPILLWAY_SITE_BATCH: %w", err)
	}
	client, err := site.New(site.Options{
		URL: settings.Site.WithServer(settings.Site.URL), User: settings.Site.User, AppPassword: settings.Site.AppPassword,
		Batch: settings.Site.Batch, Roots: settings.Roots, Slots: slots, Breaker: siteBreaker, Guard: pressing, UnderWay: places.UnderWay,
		RolesAllowed: settings.RolesAllowed, DefaultRole: settings.DefaultRole, LoginFormat: settings.Login,
		Observe: metrics.SiteRequests(registry),
	})
	if err != nil {
		return nil, err
	}
	options := syncer.Options{
		Fields: settings.Fields, ReturnPassword: settings.ReturnPasswordField, ReturnFields: settings.ReturnFields,
		NotifyAlways: settings.NotifyAlways,
	}
	if settings.ClearDeleted {
		options.Absences = newContacts(rdb, settings, nil)
	}
	if settings.CreatedTag != "" {
		options.CreatedTag = crm.NamedTag(settings.CreatedTag)
	}
	if secrets == nil {
		options.ReturnPassword = "" // the settings' check refuses the combination
	}
	var source syncer.CRM = crm
	if len(settings.SearchKey) > 0 {
		source = addresses.Noting{
			CRM: crm, Index: addresses.New(rdb, settings.SearchKey), Site: settings.Name,
			Field: settings.Fields.CRMField("user_email", "email"), Missed: seldom(log, "a contact cannot be found by its address yet"),
		}
	}
	return &parts{
		site: client, guard: pressing,
		gate: throttle.NewGate(throttle.GateOptions{
			Places: places, Site: client, Budget: budget, Room: crm.Room, Breakers: []*throttle.Breaker{crmBreaker, siteBreaker},
		}),
		syncer: syncer.New(source, syncer.Limit(client, throttle.NewCreations(rdb, settings.Name, settings.CreationLimit)), secrets, options),
	}, nil
}
