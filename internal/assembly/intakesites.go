package assembly

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"spillway/internal/assembly/metrics"
	"spillway/internal/config"
	"spillway/internal/ingest"
	"spillway/internal/pending"
	"spillway/internal/sites"
	"spillway/internal/throttle"
)

// intakeSites are the sites that an ingest process accepts webhooks for, and what
// it shows about them.
type intakeSites struct {
	fast, patient redis.UniversalClient
	room          pending.Room
	endings       *pending.Endings

	mu  sync.Mutex
	all map[string]*intakeSite
}

// intakeSite is one of them.
type intakeSite struct {
	settings config.Config
	contacts *pending.Contacts // for webhooks: gives up on Redis soon
	shown    *pending.Contacts // for the dashboard: waits longer
	serve    ingest.Site
}

// set builds the parts of new sites and keeps those of sites that have not
// changed. The new set counts once take has returned nil.
func (s *intakeSites) set(all []config.Config, take func([]ingest.Site) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[string]*intakeSite, len(all))
	serve := make([]ingest.Site, 0, len(all))
	for _, settings := range all {
		one := s.all[settings.Name]
		if one == nil || !sites.Equal(one.settings, settings) {
			one = s.build(settings)
		}
		next[settings.Name] = one
		serve = append(serve, one.serve)
	}
	if err := take(serve); err != nil {
		return err
	}
	s.all = next
	return nil
}

func (s *intakeSites) build(settings config.Config) *intakeSite {
	one := &intakeSite{settings: settings, contacts: newContacts(s.fast, settings, s.room), shown: newContacts(s.patient, settings, nil)}
	intake := pending.NewIntake(one.contacts)
	one.serve = ingest.Site{
		Name: settings.Name, Keys: settings.AccessKeys, Pending: intake, Endings: s.endings.Of(intake),
		AnswerWait: settings.AnswerWait, Held: held(Systems(s.patient, settings)),
	}
	return one
}

func (s *intakeSites) contacts() (all []*pending.Contacts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		all = append(all, one.contacts)
	}
	return all
}

// stats, systems and queues are for the metrics, by site.
func (s *intakeSites) stats() map[string]metrics.Stats {
	return bySite(&s.mu, s.all, func(_ string, one *intakeSite) metrics.Stats { return one.shown })
}

func (s *intakeSites) systems() map[string]systemsReader {
	return bySite(&s.mu, s.all, func(_ string, one *intakeSite) systemsReader { return Systems(s.patient, one.settings) })
}

func (s *intakeSites) queues() (names []string) {
	for _, contacts := range s.contacts() {
		names = append(names, contacts.Queues()...)
	}
	return names
}

func (s *intakeSites) creations() map[string]metrics.CreationCounts {
	return bySite(&s.mu, s.all, func(name string, _ *intakeSite) metrics.CreationCounts {
		return throttle.NewCreations(s.patient, name, 0)
	})
}

func (s *intakeSites) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.all))
}

// adopting checks the queues of sites that are new.
func (s *intakeSites) adopting(ctx context.Context, all []config.Config) error {
	for _, settings := range all {
		s.mu.Lock()
		known := s.all[settings.Name] != nil
		s.mu.Unlock()
		if !known {
			if _, err := adopt(ctx, []*pending.Contacts{newContacts(s.fast, settings, nil)}, zerolog.Nop()); err != nil {
				return err
			}
		}
	}
	return nil
}
