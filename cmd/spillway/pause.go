package main

import "context"

type pauseCommand struct {
	redisFlags
	jsonFlag
}

type resumeCommand struct {
	redisFlags
	jsonFlag
}

// Run is called by kong.
func (p *pauseCommand) Run(ctx context.Context, c *console) error {
	return setPaused(ctx, c, p.redisFlags, p.JSON, true)
}

// Run is called by kong.
func (p *resumeCommand) Run(ctx context.Context, c *console) error {
	return setPaused(ctx, c, p.redisFlags, p.JSON, false)
}

func setPaused(ctx context.Context, c *console, flags redisFlags, asJSON, pause bool) error {
	return c.each(flags, func(here *installation, several bool) error { return setPausedAt(ctx, c, here, several, asJSON, pause) })
}

func setPausedAt(ctx context.Context, c *console, here *installation, several, asJSON, pause bool) (err error) {
	if pause {
		err = here.contacts.Pause(ctx)
	} else {
		err = here.contacts.Resume(ctx)
	}
	if err != nil {
		return err
	}
	stats, err := here.contacts.Stats(ctx)
	if err != nil {
		return err
	}
	waiting := stats.Pending + stats.Retrying
	if several && !asJSON {
		c.say("%s: ", here.site)
	}
	switch {
	case asJSON && several: // a document for each site
		return c.json(map[string]any{"site": here.site, "paused": pause, "waiting": waiting, "active": stats.Active})
	case asJSON:
		return c.json(map[string]any{"paused": pause, "waiting": waiting, "active": stats.Active})
	case pause:
		c.say("Paused, with %s waiting; what is under way (%d) is finished. Webhooks are still accepted. Go on with: spillway resume\n", counted(waiting, "contact"), stats.Active)
	default:
		c.say("Resumed, with %s waiting.\n", counted(waiting, "contact"))
	}
	return nil
}
