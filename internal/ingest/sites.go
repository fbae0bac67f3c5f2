package ingest

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"spillway/internal/contact"
	"spillway/internal/webhook"
)

// Site is what a server needs to know of a site that webhooks are for.
type Site struct {
	Name string
	// Keys are the accepted access keys; they tell for which site a webhook is.
	Keys    []string
	Pending Submitter
	// Endings takes the webhooks whose senders are ready to wait for the pass;
	// nil: nobody waits.
	Endings Endings
	// AnswerWait is how long the sender of an add waits that does not say how
	// long; zero: not at all.
	AnswerWait time.Duration
	// Held says that no pass begins at the moment, so nobody waits. It is asked
	// once a second at most; nil: passes do begin.
	Held func(ctx context.Context) bool
}

// site is one that is served.
type site struct {
	Site

	held *held
	kept [contact.Add + 1]struct{ accepted, coalesced prometheus.Counter } // of webhooks, by action
}

// served are the sites of a server, and the keys that lead to them.
type served struct {
	keys *webhook.Keyring
	of   map[string]*site
	// unknown is what the metrics call the site of a webhook without an accepted
	// key: the only one there is, or none.
	unknown string
}

// noSite is the site, for the metrics, of what belongs to none of several.
const noSite = "none"

// SetSites replaces the sites that webhooks are taken for, from the next request on.
// Webhooks that are under way end as they began. After an error nothing has
// changed.
func (s *Server) SetSites(sites []Site) error {
	keys := make(map[string][]string, len(sites))
	next := &served{of: make(map[string]*site, len(sites)), unknown: noSite}
	for _, one := range sites {
		keys[one.Name] = one.Keys
		next.of[one.Name] = &site{Site: one, held: &held{ask: one.Held}}
		if len(sites) == 1 {
			next.unknown = one.Name
		}
	}
	var err error
	if next.keys, err = webhook.NewKeyring(keys); err != nil {
		return err
	}
	for name, one := range next.of {
		one.kept = s.metrics.know(name)
	}
	s.metrics.knowRefusals(next.unknown)
	s.sites.Store(next)
	return nil
}
