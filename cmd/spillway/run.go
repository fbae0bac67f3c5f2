package main

import (
	"context"
	"fmt"
	"strconv"

	"spillway/internal/config"
	"spillway/internal/operate/localrun"
)

type runCommand struct {
	config.Flags
	envFlag

	Folder   string `name:"folder" default:"var" placeholder:"PATH" help:"Where Redis and the log are kept."`
	Webhooks int    `name:"webhooks" default:"10000" help:"Webhooks of the burst on the stand-ins."`
	Contacts int    `name:"contacts" default:"2000" help:"Contacts of the burst on the stand-ins."`
	Exit     bool   `name:"exit" help:"Stop after the burst on the stand-ins."`

	standIns int // sites, as --sites says
}

// Validate is called by kong.
func (r *runCommand) Validate() error {
	if r.Webhooks < 1 || r.Contacts < 1 {
		return usageError("--webhooks and --contacts are whole numbers from 1 on")
	}
	if n, err := strconv.Atoi(r.Sites); err == nil {
		if n < 1 || n > localrun.MostSites {
			return usageError(fmt.Sprintf("--sites is a folder, or a whole number from 1 to %d", localrun.MostSites))
		}
		r.standIns, r.Sites = n, ""
	}
	return nil
}

// Help is called by kong.
func (r *runCommand) Help() string {
	return fmt.Sprintf("With a number in place of a folder, such as --sites 2, the stand-ins are as many sites, up to %d, each with a CRM account of its own.", localrun.MostSites)
}

// Run is called by kong.
func (r *runCommand) Run(ctx context.Context, c *console) error {
	options := localrun.Options{
		Flags: r.Flags, Environ: c.environ, EnvFile: ".env", Folder: r.Folder,
		Webhooks: r.Webhooks, Contacts: r.Contacts, Sites: r.standIns, Exit: r.Exit, Out: c.out,
	}
	if r.EnvFile != "" {
		options.EnvFile, options.EnvFileAsked = r.EnvFile, true
	}
	return localrun.Run(ctx, options)
}
