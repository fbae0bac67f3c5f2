package assembly

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"spillway/internal/config"
	"spillway/internal/pending"
	"spillway/internal/pulse"
	"spillway/internal/site"
	"spillway/internal/site/guard"
	"spillway/internal/sites"
	"spillway/internal/worker"
)

// workSites are the sites that a worker serves, with what their passes need.
type workSites struct {
	rdb       redis.UniversalClient
	room      pending.Room
	log       zerolog.Logger
	crmCalls  func(site string) func(pulse.Call)
	siteCalls func(site string) func(site.Request)

	retiring sync.WaitGroup

	mu  sync.Mutex
	all map[string]*workSite
}

// workSite is one of them.
type workSite struct {
	settings config.Config
	contacts *pending.Contacts
	parts    *parts
	stop     context.CancelFunc // of what runs beside passes
	beside   sync.WaitGroup
}

// set builds the parts of new sites and keeps those of sites that have not
// changed. The caller calls retire once no new passes of the former sites begin:
// it ends their parts when the last pass has ended. After an error nothing has
// changed.
func (s *workSites) set(ctx context.Context, all []config.Config) (serve []worker.Site, retire func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[string]*workSite, len(all))
	var fresh []*workSite
	for _, settings := range all {
		one := s.all[settings.Name]
		if one == nil || !sites.Equal(one.settings, settings) {
			if one, err = s.build(ctx, settings); err != nil {
				for _, unused := range fresh {
					unused.end(ctx)
				}
				return nil, nil, err
			}
			fresh = append(fresh, one)
		}
		next[settings.Name] = one
		serve = append(serve, worker.Site{Name: settings.Name, Contacts: one.contacts, Syncer: one.parts.syncer, Gate: one.parts.gate})
	}
	var gone []*workSite
	for name, one := range s.all {
		if next[name] != one {
			gone = append(gone, one)
		}
	}
	s.all = next
	return serve, func() {
		for _, one := range gone {
			s.retiring.Go(func() { one.retire(ctx) })
		}
	}, nil
}

func (s *workSites) build(ctx context.Context, settings config.Config) (*workSite, error) {
	log := s.log.With().Str("site", settings.Name).Logger()
	parts, err := newParts(s.rdb, settings, s.crmCalls, s.siteCalls, log)
	if err != nil {
		return nil, err
	}
	one := &workSite{settings: settings, contacts: newContacts(s.rdb, settings, s.room), parts: parts}
	ctx, one.stop = context.WithCancel(ctx)
	if page := settings.Site.ProbeURL; page != "" {
		prober := guard.NewProber(parts.guard, settings.Site.WithServer(page), settings.Roots)
		one.beside.Go(func() {
			prober.Run(ctx, func(err error) { log.Warn().Err(err).Msg("the page is not measured") })
		})
	}
	one.beside.Go(func() { nightly(ctx, s.rdb, settings, log) })
	return one, nil
}

// retire ends a site's parts when its last pass has ended, or should have.
func (o *workSite) retire(ctx context.Context) {
	end := time.NewTimer(pending.PassTimeout)
	defer end.Stop()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for o.parts.gate.UnderWay() > 0 {
		select {
		case <-ctx.Done():
		case <-end.C:
		case <-look.C:
			continue
		}
		break
	}
	o.end(ctx)
}

func (o *workSite) end(ctx context.Context) {
	o.stop()
	o.beside.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pending.PassTimeout)
	defer cancel()
	_ = o.parts.close(ctx) // whatever is cut off is tried again
}

// close ends all sites, whose passes have ended.
func (s *workSites) close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retiring.Wait()
	var group errgroup.Group
	for _, one := range s.all {
		one.stop()
		group.Go(func() error {
			one.beside.Wait()
			return one.parts.close(context.WithoutCancel(ctx))
		})
	}
	return group.Wait()
}

func (s *workSites) contacts() (all []*pending.Contacts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		all = append(all, one.contacts)
	}
	return all
}

func (s *workSites) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.all))
}

// underWay is how many passes of the worker have begun and not ended.
func (s *workSites) underWay() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		n += one.parts.gate.UnderWay()
	}
	return n
}

func (s *workSites) systems() map[string]systemsReader {
	return bySite(&s.mu, s.all, func(_ string, one *workSite) systemsReader { return Systems(s.rdb, one.settings) })
}

// adopt refuses to start when Redis holds a site's contacts in another number of
// queues than the settings say. While Redis is away this cannot be known: then
// checked is false, and the program starts all the same.
func adopt(ctx context.Context, all []*pending.Contacts, log zerolog.Logger) (checked bool, err error) {
	const atOnce = 16
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, contacts := range all {
		group.Go(func() error { return contacts.Adopt(ctx) })
	}
	err = group.Wait()
	var other *pending.OtherQueues
	if errors.As(err, &other) {
		return true, err
	}
	if err != nil {
		log.Warn().Err(err).Msg("the number of queues was not checked; it is once Redis answers")
	}
	return err == nil, nil
}

// adoptLater repeats the check until Redis answers or ctx ends. Without it a
// worker with a wrong number would serve queues that nobody fills, and look
// healthy and idle.
func adoptLater(ctx context.Context, all []*pending.Contacts) error {
	const pause = time.Second
	again := time.NewTicker(pause)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
		if checked, err := adopt(ctx, all, zerolog.Nop()); checked {
			return err
		}
	}
}
