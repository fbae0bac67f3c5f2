package main

import (
	"context"

	"github.com/redis/go-redis/v9"

	"spillway/internal/admin/creations"
	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/throttle"
)

// creationsCommand groups the commands about users that the creation limit
// held back.
type creationsCommand struct {
	Show  creationsShowCommand  `cmd:"" default:"withargs" help:"Tell how many users were created within the hour, and how many are held back."`
	Allow creationsAllowCommand `cmd:"" help:"Let all of them be created, beyond the limit."`
	Drop  creationsDropCommand  `cmd:"" help:"Forget all of them; their next webhooks begin anew."`
}

// limit is the creation limit of an installation's site.
type limit struct {
	rdb      redis.UniversalClient
	settings config.Config
	list     *throttle.Creations
}

// limit connects to Redis. The caller closes rdb.
func (c *console) limit(flags redisFlags) (*limit, error) {
	settings, rdb, err := c.oneSite(flags.envFlag, config.Flags{RedisURL: flags.RedisURL}, flags.siteFlag)
	if err != nil {
		return nil, err
	}
	return &limit{rdb, settings, throttle.NewCreations(rdb, settings.Name, settings.CreationLimit)}, nil
}

type creationsShowCommand struct {
	redisFlags
	jsonFlag
}

// Run is called by kong.
func (s *creationsShowCommand) Run(ctx context.Context, c *console) error {
	here, err := c.limit(s.redisFlags)
	if err != nil {
		return err
	}
	defer here.rdb.Close()
	counts, err := here.list.Counts(ctx)
	if err != nil {
		return err
	}
	switch {
	case s.JSON:
		return c.json(counts)
	case counts.Limit == 0:
		c.say("There is no limit (SPILLWAY_CREATION_LIMIT=0).\n")
	default:
		c.say("%d of %d users were created within the last hour.\n", counts.Made, counts.Limit)
	}
	if counts.Held > 0 {
		c.say("Held back: %s. See what made the CRM add them, then: spillway creations allow, or drop\n", counted(counts.Held, "contact"))
	}
	return nil
}

type creationsAllowCommand struct {
	redisFlags
	jsonFlag
}

// Run is called by kong.
func (a *creationsAllowCommand) Run(ctx context.Context, c *console) error {
	here, err := c.limit(a.redisFlags)
	if err != nil {
		return err
	}
	defer here.rdb.Close()
	done, err := creations.Allow(ctx, assembly.Contacts(here.rdb, here.settings), here.list, here.settings.Name)
	if err != nil {
		return err
	}
	return tell(c, a.JSON, "allowed", done, nil)
}

type creationsDropCommand struct {
	Yes bool `name:"yes" help:"Yes, all of them."`
	redisFlags
	jsonFlag
}

// Run is called by kong.
func (d *creationsDropCommand) Run(ctx context.Context, c *console) error {
	if !d.Yes {
		return usageError("dropping forgets what was to be done for them: write --yes if that is meant")
	}
	here, err := c.limit(d.redisFlags)
	if err != nil {
		return err
	}
	defer here.rdb.Close()
	done, err := creations.Drop(ctx, assembly.Contacts(here.rdb, here.settings), here.list, here.settings.Name)
	if err != nil {
		return err
	}
	return tell(c, d.JSON, "dropped", done, nil)
}
