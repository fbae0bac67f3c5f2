package assembly

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"spillway/internal/admin/addresses"
	"spillway/internal/admin/comparisons"
	"spillway/internal/admin/observations"
	"spillway/internal/admin/refusals"
	"spillway/internal/config"
	"spillway/internal/pending"
	"spillway/internal/sites/gone"
	"spillway/internal/syncer"
	"spillway/internal/throttle"
)

// GoneSites returns the sites that have no settings any more.
func GoneSites(rdb redis.UniversalClient, settings config.Config) *gone.Sites {
	return gone.New(rdb, settings.SitesFolder, keysOf)
}

// keysOf names everything that Redis holds of a site.
func keysOf(site string) []string {
	return slices.Concat(
		pending.KeysOf(site), throttle.KeysOf(site), refusals.KeysOf(site), addresses.KeysOf(site), comparisons.KeysOf(site), observations.KeysOf(site),
		[]string{VaultPrefix + syncer.SecretsOf(site)},
	)
}

// serving says in Redis which sites this program serves, until ctx ends.
func serving(ctx context.Context, all *gone.Sites, names func() []string, log zerolog.Logger) {
	complain := seldom(log, "Redis was not told which sites are served")
	again := time.NewTicker(gone.Beat)
	defer again.Stop()
	for {
		if err := all.Serve(ctx, names()); err != nil && ctx.Err() == nil {
			complain(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}
