package assembly

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/redis/go-redis/v9"

	"spillway/internal/config"
	"spillway/internal/relay"
	"spillway/internal/site"
	"spillway/internal/site/guard"
	"spillway/internal/syncer"
	"spillway/internal/throttle"
)

// newRelayParts returns what passes over a site in mode relay need: neither the
// CRM nor the connector.
func newRelayParts(rdb redis.UniversalClient, settings config.Config, observe func(site.Request)) (*parts, error) {
	breaker := throttle.NewBreaker(rdb, throttle.Site, settings.Name, 5)
	places := throttle.NewPlaces(rdb, throttle.PlacesKey(settings.Name))
	slots, err := throttle.NewSlots(rdb, throttle.SlotsKey(settings.Name), settings.Site.Concurrency)
	if err != nil {
		return nil, fmt.Errorf("SPILLWAY_SITE_CONCURRENCY: %w", err)
	}
	pressing, err := guard.New(rdb, settings.Name, 1)
	if err != nil {
		return nil, err
	}
	options, err := relayOptions(settings)
	if err != nil {
		return nil, err
	}
	options.Slots, options.Breaker, options.Guard = slots, breaker, pressing
	options.Observe = func(r relay.Request) { observe(site.Request{Contacts: 1, Took: r.Took, Outcome: r.Outcome}) }
	client, err := relay.New(options)
	if err != nil {
		return nil, err
	}
	limited := syncer.Limit(client, throttle.NewCreations(rdb, settings.Name, settings.CreationLimit))
	return &parts{
		close: client.Close, guard: pressing,
		gate:   throttle.NewGate(throttle.GateOptions{Places: places, Site: client, Breakers: []*throttle.Breaker{breaker}}),
		syncer: &relay.Passes{Site: limited, NotifyAlways: settings.NotifyAlways},
	}, nil
}

func relayOptions(settings config.Config) (relay.Options, error) {
	if len(settings.AccessKeys) == 0 || settings.Site.URL == "" {
		return relay.Options{}, errors.New("SPILLWAY_MODE=relay needs SPILLWAY_SITE_URL and WP Fusion's access key, the first in SPILLWAY_ACCESS_KEYS")
	}
	return relay.Options{
		URL: settings.Site.WithServer(settings.Site.URL), AccessKey: settings.AccessKeys[0], RolesAllowed: settings.RolesAllowed,
		Concurrency: settings.Site.Concurrency, Roots: settings.Roots,
	}, nil
}

// TestRelay asks WP Fusion's endpoint whether it is there and takes the access
// key, for an operator's command. http is used if it is not nil.
func TestRelay(ctx context.Context, settings config.Config, http *http.Client) error {
	options, err := relayOptions(settings)
	if err != nil {
		return err
	}
	options.HTTP = http
	client, err := relay.New(options)
	if err != nil {
		return err
	}
	return client.Test(ctx)
}
