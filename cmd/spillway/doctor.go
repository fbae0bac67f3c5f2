package main

import (
	"context"
	"errors"

	"spillway/internal/config"
	"spillway/internal/operate/doctor"
)

type doctorCommand struct {
	config.Flags
	siteFlag
	envFlag
	jsonFlag
}

// Run is called by kong.
func (d *doctorCommand) Run(ctx context.Context, c *console) error {
	all, err := c.settings(d.envFlag, d.Flags)
	if err != nil {
		return err
	}
	chosen, err := d.some(all)
	if err != nil {
		return err
	}
	var failed error
	for _, settings := range chosen {
		if len(chosen) > 1 && !d.JSON {
			c.say("Site %s\n", settings.Name)
		}
		if err := d.examine(ctx, c, settings); err != nil {
			if !errors.Is(err, errFindings) {
				return err
			}
			failed = err // the other sites are examined all the same
		}
	}
	return failed
}

func (d *doctorCommand) examine(ctx context.Context, c *console, settings config.Config) (err error) {
	report := doctor.Examine(ctx, settings)
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.JSON {
		err = c.json(report)
	} else {
		err = report.Print(c.out, c.colours())
	}
	if err == nil && report.Failed > 0 {
		err = errFindings
	}
	return err
}
