// Package assembly builds the programs from their settings: which parts there
// are, how they fit together, and in which order they start and stop. It
// decides nothing else.
package assembly

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"spillway/internal/admin"
	"spillway/internal/admin/addresses"
	"spillway/internal/admin/observations"
	"spillway/internal/admin/refusals"
	"spillway/internal/admin/roster"
	"spillway/internal/assembly/metrics"
	"spillway/internal/assembly/rotation"
	"spillway/internal/config"
	"spillway/internal/ingest"
	"spillway/internal/observe"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
	"spillway/internal/pulse"
	"spillway/internal/redisconn"
	"spillway/internal/site"
	"spillway/internal/site/guard"
	"spillway/internal/sites"
	"spillway/internal/syncer"
	"spillway/internal/throttle"
	"spillway/internal/vault"
	"spillway/internal/worker"
)

// Ingest runs the ingest server and the admin address until ctx ends. SIGHUP
// makes it read its sites, or its access keys, and its certificate again.
func Ingest(ctx context.Context, settings config.Config, log zerolog.Logger) error {
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	defer signal.Stop(hangUps)
	return IngestIn(ctx, settings, log, hangUps)
}

// IngestIn is [Ingest] in a process whose signals are someone else's.
func IngestIn(ctx context.Context, settings config.Config, log zerolog.Logger, hangUps <-chan os.Signal) error {
	all, err := sites.Read(settings, config.Ingest)
	if err != nil {
		return err
	}
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
	traces, err := observe.NewTraces(ctx, "spillway-ingest", log)
	if err != nil {
		return err
	}
	defer traces.Stop(ctx)
	keeper, endings := history.NewKeeper(patient), pending.NewEndings(patient)
	served := &intakeSites{fast: fast, patient: patient, room: keeper, endings: endings}
	registry, refused := observe.NewRegistry(), refusals.New(patient)
	server := ingest.New(ingest.Options{
		Tracer: traces, Addr: settings.IngestAddr, Refusals: refused, AnswerWaiters: settings.AnswerWaiters,
		Certificate: settings.Certificate, TrustedProxies: settings.TrustedProxies, Log: log, Registerer: registry,
	})
	if err := served.set(all, server.SetSites); err != nil {
		return err
	}
	adopted, err := adopt(ctx, served.contacts(), log)
	if err != nil {
		return err
	}
	registry.MustRegister(
		metrics.Contacts(served.stats), metrics.Systems(served.systems), metrics.Redis(patient),
		metrics.Creations(served.creations), metrics.Queues(patient, served.queues),
		metrics.Comparisons(lastComparisons(patient, served.names)),
		metrics.Pools(map[string]redis.UniversalClient{"ingest": fast, "admin": patient}),
	)
	health := observe.Handler(registry, append(systemChecks(served.systems), observe.RedisCheck(patient))...)
	connecting, left := newConnector(patient, settings), GoneSites(patient, settings)
	front := admin.NewFront(wholeAdmin(patient, settings, connecting, left, health, log))
	show := func(all []config.Config) {
		var shown []admin.Options
		for _, site := range all {
			shown = append(shown, siteAdmin(patient, site, connecting, left, health, log))
		}
		front.SetSites(shown)
	}
	show(all)
	group, ctx := errgroup.WithContext(ctx)
	if !adopted {
		group.Go(func() error { return adoptLater(ctx, served.contacts()) })
	}
	group.Go(func() error { keeper.Run(ctx, seldom(log, unwatched)); return nil })
	group.Go(func() error { refused.Run(ctx, seldom(log, "the counts of refusals wait")); return nil })
	group.Go(func() error {
		endings.Run(ctx, seldom(log, "nobody hears of passes: answers do not wait for them"))
		return nil
	})
	group.Go(func() error { announce(ctx, patient, roster.Ingest, settings, nil, log); return nil })
	group.Go(func() error { serving(ctx, left, served.names, log); return nil })
	group.Go(func() error { return front.Run(ctx) })
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error {
		items := []rotation.Item{siteFiles(settings, config.Ingest, func(all []config.Config) error {
			if err := served.adopting(ctx, all); err != nil {
				return err
			}
			if err := served.set(all, server.SetSites); err != nil {
				return err
			}
			show(all)
			_ = left.Serve(ctx, served.names()) // or else with the next beat
			return nil
		})}
		if settings.Certificate != nil {
			items = append(items, certificateFiles(server, settings))
		}
		watch(ctx, hangUps, log, items...)
		return nil
	})
	group.Go(func() error { return observe.Serve(ctx, settings.AdminAddr, front, log) })
	log.Info().Str("webhooks", settings.IngestAddr).Str("admin", settings.AdminAddr).Int("sites", len(all)).Msg("ingest is up")
	return group.Wait()
}

// Worker runs a worker and its health address until ctx ends and its passes
// are done. SIGHUP makes it read its sites again.
func Worker(ctx context.Context, settings config.Config, log zerolog.Logger) error {
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	defer signal.Stop(hangUps)
	return WorkerIn(ctx, settings, log, hangUps)
}

// WorkerIn is [Worker] in a process whose signals are someone else's.
func WorkerIn(ctx context.Context, settings config.Config, log zerolog.Logger, hangUps <-chan os.Signal) error {
	all, err := sites.Read(settings, config.Worker)
	if err != nil {
		return err
	}
	rdb, err := redisconn.Open(settings.RedisURL, redisconn.ForWorker, redisconn.WithRoots(settings.Roots))
	if err != nil {
		return fmt.Errorf("SPILLWAY_REDIS_URL: %w", err)
	}
	defer rdb.Close()
	registry := observe.NewRegistry()
	registry.MustRegister(metrics.Redis(rdb), metrics.Pools(map[string]redis.UniversalClient{"worker": rdb}))
	traces, err := observe.NewTraces(ctx, "spillway-worker", log)
	if err != nil {
		return err
	}
	defer traces.Stop(ctx)

	// The health address answers until the last pass is done.
	healthCtx, stopHealth := context.WithCancel(context.WithoutCancel(ctx))
	defer stopHealth()
	keeper := history.NewKeeper(rdb)
	served := &workSites{
		rdb: rdb, room: keeper, log: log, crmCalls: metrics.CRMCalls(registry), siteCalls: metrics.SiteRequests(registry),
	}
	serve, _, err := served.set(healthCtx, all)
	if err != nil {
		return err
	}
	adopted, err := adopt(ctx, served.contacts(), log)
	if err != nil {
		return errors.Join(err, served.close(ctx))
	}
	w := worker.New(worker.Options{
		Tracer: traces, Redis: rdb, Sites: serve, Concurrency: settings.WorkerConcurrency, Log: log, Registerer: registry,
	})
	health := observe.Handler(registry, append(systemChecks(served.systems), observe.RedisCheck(rdb))...)

	var group errgroup.Group
	workCtx, stopWork := context.WithCancel(ctx)
	group.Go(func() error {
		defer stopWork() // without its address nobody would notice the worker
		return observe.Serve(healthCtx, settings.WorkerAddr, health, log)
	})
	if !adopted {
		group.Go(func() error {
			err := adoptLater(workCtx, served.contacts())
			if err != nil {
				stopWork()
			}
			return err
		})
	}
	group.Go(func() error { keeper.Run(healthCtx, seldom(log, unwatched)); return nil })
	group.Go(func() error { announce(healthCtx, rdb, roster.Worker, settings, served.underWay, log); return nil })
	group.Go(func() error { serving(healthCtx, GoneSites(rdb, settings), served.names, log); return nil })
	watching := make(chan struct{})
	group.Go(func() error {
		defer close(watching)
		watch(workCtx, hangUps, log, siteFiles(settings, config.Worker, func(all []config.Config) error {
			serve, retire, err := served.set(healthCtx, all)
			if err != nil {
				return err
			}
			w.Serve(serve)
			retire()
			return nil
		}))
		return nil
	})
	group.Go(func() error {
		defer stopHealth()
		err := w.Run(workCtx)
		stopWork()
		<-watching
		return errors.Join(err, served.close(ctx))
	})
	log.Info().Str("health", settings.WorkerAddr).Int("concurrency", settings.WorkerConcurrency).Int("sites", len(all)).Msg("worker is up")
	return group.Wait()
}

// unwatched is what the log says about errors of the goroutine that watches files.
const unwatched = "Redis's memory is not watched"

func newContacts(rdb redis.UniversalClient, settings config.Config, room pending.Room) *pending.Contacts {
	return pending.New(rdb, pending.Options{Site: settings.Name, Queues: settings.Queues, Settle: settings.Settle, Room: room})
}

// parts are what a pass needs.
type parts struct {
	syncer worker.Passer
	gate   *throttle.Gate
	guard  *guard.Guard
	close  func(context.Context) error // ends the site's client
}

func newParts(
	rdb redis.UniversalClient, settings config.Config,
	crmCalls func(string) func(pulse.Call), siteCalls func(string) func(site.Request), log zerolog.Logger,
) (*parts, error) {
	if settings.Mode == config.Relay {
		return newRelayParts(rdb, settings, siteCalls(settings.Name))
	}
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
		Breaker: crmBreaker, Observe: crmCalls(settings.Name),
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
		Observe: siteCalls(settings.Name), Observing: settings.Mode == config.Observe,
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
	var passer worker.Passer
	if settings.Mode == config.Observe {
		passer = syncer.NewObserver(source, client, options, observations.New(rdb, settings.Name))
	} else {
		limited := syncer.Limit(client, throttle.NewCreations(rdb, settings.Name, settings.CreationLimit))
		passer = syncer.New(source, limited, secrets, options)
	}
	return &parts{
		close: client.Close, guard: pressing,
		gate: throttle.NewGate(throttle.GateOptions{
			Places: places, Site: client, Budget: budget, Room: crm.Room, Breakers: []*throttle.Breaker{crmBreaker, siteBreaker},
		}),
		syncer: passer,
	}, nil
}
