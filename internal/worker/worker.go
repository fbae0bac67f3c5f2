// Package worker takes wake-ups from asynq and runs passes over contacts.
//
// It serves all sites of an installation in turn: which queue is asked first is
// drawn anew for each pass, a site whose gate is shut is passed over, and no site
// has all handlers.
//
// It guarantees that an acknowledged contact ends synced or parked, never
// forgotten: whatever happens to a pass, its claim is finished, given back with
// a time for the next attempt, or left to the sweep. Stopping it waits for the
// passes under way.
package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"spillway/internal/contact"
	"spillway/internal/pending"
)

// Passer runs one pass over one contact. asOf is the pass's number, see
// [pending.Claim].
type Passer interface {
	Pass(ctx context.Context, ref contact.Ref, intent contact.Intent, asOf int64) (contact.Result, error)
}

// Gate decides whether a pass may begin.
type Gate interface {
	// Begin asks for a pass. If it may begin, end is not nil and is called once
	// the pass has ended. Otherwise wait says when to ask again.
	Begin(ctx context.Context) (end func(), wait time.Duration, err error)
	// UnderWay is how many passes of this process have begun and not ended.
	UnderWay() int
}

// Site is what passes over a site's contacts need.
type Site struct {
	Name     string
	Contacts *pending.Contacts
	Syncer   Passer
	Gate     Gate
}

// Options are what a worker is made of.
type Options struct {
	Redis redis.UniversalClient
	// Sites are those that the worker serves, until [Worker.Serve] names others.
	Sites       []Site
	Concurrency int
	Log         zerolog.Logger
	Registerer  prometheus.Registerer
	// Tracer records the passes of webhooks that are traced; nil: none.
	Tracer trace.TracerProvider
	// SweepInterval is how often lost wake-ups are looked for; zero: 5 s.
	SweepInterval time.Duration
}

// Worker is one replica.
type Worker struct {
	options Options
	metrics *metrics
	share   *share
	serving atomic.Pointer[serving]
	changed chan struct{}
}

// serving are the sites that are served.
type serving struct {
	sites   map[string]*Site // by name
	byQueue map[string]*Site
	queues  []string // sorted
}

// New returns a worker that does nothing until [Worker.Run].
func New(options Options) *Worker {
	if options.SweepInterval == 0 {
		options.SweepInterval = 5 * time.Second
	}
	if options.Tracer == nil {
		options.Tracer = noop.NewTracerProvider()
	}
	w := &Worker{options: options, share: newShare(options.Concurrency), changed: make(chan struct{}, 1)}
	w.metrics = newMetrics(options.Registerer, w.underWay)
	w.Serve(options.Sites)
	return w
}

// Serve says which sites are served from now on. Passes under way go on with what
// they began with. What waits for a site that is not served any more is kept.
func (w *Worker) Serve(sites []Site) {
	s := &serving{sites: make(map[string]*Site, len(sites)), byQueue: make(map[string]*Site, len(sites))}
	for i := range sites {
		site := &sites[i]
		s.sites[site.Name] = site
		for _, queue := range site.Contacts.Queues() {
			s.byQueue[queue] = site
			s.queues = append(s.queues, queue)
		}
		w.metrics.know(site.Name)
	}
	slices.Sort(s.queues)
	w.share.among(len(sites))
	w.serving.Store(s)
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// underWay counts the passes that have begun and not ended, by site.
func (w *Worker) underWay() map[string]int {
	counts := make(map[string]int)
	for name, site := range w.serving.Load().sites {
		counts[name] = site.Gate.UnderWay()
	}
	return counts
}

// drainTime is how long stopping waits for passes under way. It exceeds their
// timeout, so none is cut off.
const drainTime = pending.PassTimeout + 5*time.Second

// Run works until ctx ends, then takes no new contacts and returns when the
// passes under way are done.
func (w *Worker) Run(ctx context.Context) error {
	// asynq's lists of servers and workers keep killed ones until somebody
	// reads the lists; the worker that takes a killed one's place reads them.
	if _, err := asynq.NewInspectorFromRedisClient(w.options.Redis).Servers(); err != nil {
		w.options.Log.Warn().Err(err).Msg("asynq's list of servers was not cleared of killed ones")
	}
	now, err := w.begin(w.serving.Load().queues)
	if err != nil {
		return err
	}
	var others sync.WaitGroup
	others.Go(func() { w.sweep(ctx) })
	for {
		select {
		case <-ctx.Done():
			w.options.Log.Info().Msg("stopping: waiting for the passes under way")
			now.stop()
			others.Wait()
			return nil
		case <-w.changed:
		}
		queues := w.serving.Load().queues
		if slices.Equal(queues, now.queues) {
			continue
		}
		// asynq's server has the queues that it began with. The passes under way
		// end beside the next one.
		next, err := w.begin(queues)
		if err != nil {
			now.stop()
			others.Wait()
			return err
		}
		others.Go(now.stop)
		now = next
	}
}

// taking is a server of asynq that takes wake-ups from some queues.
type taking struct {
	queues []string
	stop   func() // returns when its passes are done
}

func (w *Worker) begin(names []string) (*taking, error) {
	queues := make(map[string]int, len(names))
	for _, name := range names {
		queues[name] = 1
	}
	stopping := make(chan struct{})
	door := newDoor(w.options.Redis, names, func(queue string) *Site { return w.serving.Load().byQueue[queue] }, w.share, stopping)
	server := asynq.NewServerFromRedisClient(door, asynq.Config{
		Concurrency:  w.options.Concurrency,
		Queues:       queues,
		BaseContext:  door.base,
		ErrorHandler: door,
		// The door says when there is something to look for.
		TaskCheckInterval: 2 * time.Millisecond,
		// The default makes a retry late by up to 5 s.
		DelayedTaskCheckInterval: time.Second,
		// No wake-up is kept once it is done, so there is nothing to expire.
		JanitorInterval: time.Hour,
		ShutdownTimeout: drainTime,
		RetryDelayFunc:  retryDelay,
		// The record counts attempts; asynq never does.
		IsFailure: func(error) bool { return false },
		Logger:    asynqLog{w.options.Log},
		LogLevel:  asynq.WarnLevel,
	})
	// Passes outlive the stop: it says when to take no new ones.
	handler := asynq.HandlerFunc(func(ctx context.Context, _ *asynq.Task) error { return w.handle(ctx, door) })
	if err := server.Start(handler); err != nil {
		return nil, fmt.Errorf("starting the worker: %w", err)
	}
	return &taking{queues: names, stop: func() {
		close(stopping)
		server.Stop()
		server.Shutdown()
	}}, nil
}

// sweep looks for lost wake-ups of all sites until ctx ends, every interval give
// or take a third, so that workers that start together drift apart.
func (w *Worker) sweep(ctx context.Context) {
	for {
		pause := time.Duration(float64(w.options.SweepInterval) * (2 + 2*rand.Float64()) / 3) //nolint:gosec // spreads load, guards nothing
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		for _, site := range w.serving.Load().sites {
			sweepCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
			woken, err := site.Contacts.Sweep(sweepCtx)
			cancel()
			if ctx.Err() != nil {
				return
			}
			w.swept(site.Name, woken, err)
		}
	}
}

func (w *Worker) swept(site string, woken int, err error) {
	if err != nil {
		w.options.Log.Warn().Err(err).Str("site", site).Msg("sweep failed; the next one is due in seconds")
		return
	}
	w.metrics.revived.WithLabelValues(site).Add(float64(woken))
	if woken > 0 {
		w.options.Log.Info().Str("site", site).Int("contacts", woken).Msg("woke contacts whose wake-up was lost")
	}
}

// redelivery tells asynq when to deliver a wake-up again.
type redelivery struct {
	after  time.Duration
	reason string // goes to Redis and asynqmon: a code, no details
}

func (r *redelivery) Error() string { return r.reason }

func retryDelay(_ int, err error, _ *asynq.Task) time.Duration {
	var r *redelivery
	if errors.As(err, &r) {
		return r.after
	}
	// Only asynq's own errors come here, such as a lease that ended.
	return spread(10 * time.Second)
}

// spread returns a duration in [d, 1.5 d).
func spread(d time.Duration) time.Duration {
	return d + time.Duration(rand.Float64()*float64(d)/2) //nolint:gosec // spreads load, guards nothing
}

func (w *Worker) handle(ctx context.Context, door *door) error {
	id, _ := asynq.GetTaskID(ctx)
	place := door.enter(ctx)
	if place == nil {
		// Only if asynq took the wake-up in a way that the door does not know.
		w.options.Log.Error().Msg("a wake-up came that the gate had not let in; please report this as a bug")
		return &redelivery{after: spread(2 * time.Second), reason: "no pass may begin now"}
	}
	defer place.end()

	queue, _ := asynq.GetQueueName(ctx)
	site := w.serving.Load().byQueue[queue]
	if site == nil {
		return &redelivery{after: spread(10 * time.Second), reason: "the site is gone"}
	}
	claim, err := site.Contacts.Claim(ctx, id)
	var busy *pending.Busy
	var unsettled *pending.Unsettled
	switch {
	case errors.Is(err, pending.ErrStale):
		return nil
	case errors.As(err, &busy):
		return &redelivery{after: busy.For + time.Second, reason: "another pass holds the contact"}
	case errors.As(err, &unsettled):
		// asynq cuts off the fraction of the second.
		return &redelivery{after: unsettled.For + time.Second, reason: "the contact is to settle"}
	case err != nil:
		w.options.Log.Warn().Err(err).Msg("claim failed; the contact is tried again")
		return &redelivery{after: spread(2 * time.Second), reason: "claim failed"}
	}
	return w.work(ctx, site, claim)
}
