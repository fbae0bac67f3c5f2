package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/pending"
	"spillway/internal/sites/gone"
)

// sitesCommand groups the commands about the sites of an installation.
type sitesCommand struct {
	List sitesListCommand `cmd:"" default:"withargs" help:"List the sites with what waits for each, and those that have gone."`
	Drop sitesDropCommand `cmd:"" help:"Forget a site that has gone: everything that Redis holds of it."`
}

// sitesFlags are on both of them.
type sitesFlags struct {
	envFlag
	jsonFlag

	RedisURL string `name:"redis-url" placeholder:"URL" help:"Redis, as SPILLWAY_REDIS_URL. One with a password belongs in the environment."`
}

// sites returns the settings of all sites, the Redis of the installation, which the
// caller closes, and the sites that have gone.
func (c *console) sites(flags sitesFlags) ([]config.Config, redis.UniversalClient, *gone.Sites, error) {
	all, err := c.settings(flags.envFlag, config.Flags{RedisURL: flags.RedisURL})
	if err != nil {
		return nil, nil, nil, err
	}
	rdb, err := open(all[0])
	if err != nil {
		return nil, nil, nil, err
	}
	return all, rdb, assembly.GoneSites(rdb, all[0]), nil
}

type sitesListCommand struct{ sitesFlags }

// listedSite is a site as the command lists it.
type listedSite struct {
	Name        string    `json:"name"`
	Gone        bool      `json:"gone"`
	Served      bool      `json:"served,omitempty"` // of one that has gone: a program serves it all the same
	Pending     int64     `json:"pending"`
	Active      int64     `json:"active"`
	Retrying    int64     `json:"retrying"`
	Parked      int64     `json:"parked"`
	Paused      bool      `json:"paused"`
	LastWebhook time.Time `json:"last_webhook,omitzero"`
}

func listed(name string, gone, served bool, stats pending.Stats) listedSite {
	return listedSite{name, gone, served, stats.Pending, stats.Active, stats.Retrying, stats.Parked, stats.Paused, stats.LastWebhook}
}

// Run is called by kong.
func (l *sitesListCommand) Run(ctx context.Context, c *console) error {
	all, rdb, left, err := c.sites(l.sitesFlags)
	if err != nil {
		return err
	}
	defer rdb.Close()
	var list []listedSite
	for _, settings := range all {
		stats, err := assembly.Contacts(rdb, settings).Stats(ctx)
		if err != nil {
			return err
		}
		list = append(list, listed(settings.Name, false, false, stats))
	}
	some, err := left.List(ctx)
	if err != nil {
		return err
	}
	for _, site := range some {
		list = append(list, listed(site.Name, true, site.Served, site.Stats))
	}
	if l.JSON {
		return c.json(map[string]any{"sites": list})
	}
	for _, site := range list {
		webhook, note := "no webhook yet", ""
		if !site.LastWebhook.IsZero() {
			webhook = "last webhook " + at(site.LastWebhook)
		}
		switch {
		case site.Gone && site.Served:
			note = "  has no settings here, and a program served it within the last half minute: if it goes on, SPILLWAY_SITES is another folder there"
		case site.Gone:
			note = "  has gone: it is kept until its file comes back, or: spillway sites drop " + site.Name
		case site.Paused:
			note = "  paused"
		}
		c.say("%-20s  %d outstanding, %d parked, %s%s\n", site.Name, site.Pending+site.Active+site.Retrying, site.Parked, webhook, note)
	}
	return nil
}

type sitesDropCommand struct {
	Name string `arg:"" name:"name" help:"The site's name."`
	Yes  bool   `name:"yes" help:"Yes, everything of it."`
	sitesFlags
}

// Run is called by kong.
func (d *sitesDropCommand) Run(ctx context.Context, c *console) error {
	if !d.Yes {
		return usageError("dropping forgets everything that waits for " + d.Name + " and cannot be undone: write --yes if that is meant")
	}
	_, rdb, left, err := c.sites(d.sitesFlags)
	if err != nil {
		return err
	}
	defer rdb.Close()
	keys, err := left.Drop(ctx, d.Name)
	if errors.Is(err, gone.ErrUnknown) {
		return usageError(d.Name + ": " + err.Error())
	}
	if err != nil {
		return err
	}
	if d.JSON {
		return c.json(map[string]any{"dropped": d.Name, "keys": keys})
	}
	c.say("%s is dropped: %d keys of it are deleted from Redis.\n", d.Name, keys)
	return nil
}
