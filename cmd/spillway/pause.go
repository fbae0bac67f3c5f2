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
	here, err := c.installation(flags)
	if err != nil {
		return err
	}
	defer here.Close()
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
	switch {
	case asJSON:
		return c.json(map[string]any{"paused": pause, "waiting": waiting, "active": stats.Active})
	case pause:
		c.say("Paused: %d contacts wait, %d passes under way are finished. Webhooks are still accepted. Go on with: spillway resume\n", waiting, stats.Active)
	default:
		c.say("Resumed: %d contacts wait.\n", waiting)
	}
	return nil
}
