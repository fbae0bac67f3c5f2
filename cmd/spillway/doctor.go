package main

import (
	"context"

	"spillway/internal/config"
	"spillway/internal/operate/doctor"
)

type doctorCommand struct {
	config.Flags
	envFlag
	jsonFlag
}

// Run is called by kong.
func (d *doctorCommand) Run(ctx context.Context, c *console) error {
	settings, err := c.settings(d.envFlag, d.Flags)
	if err != nil {
		return err
	}
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
