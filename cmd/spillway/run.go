package main

import (
	"context"

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
}

// Validate is called by kong.
func (r *runCommand) Validate() error {
	if r.Webhooks < 1 || r.Contacts < 1 {
		return usageError("--webhooks and --contacts are whole numbers from 1 on")
	}
	return nil
}

// Run is called by kong.
func (r *runCommand) Run(ctx context.Context, c *console) error {
	options := localrun.Options{
		Flags: r.Flags, Environ: c.environ, EnvFile: ".env", Folder: r.Folder,
		Webhooks: r.Webhooks, Contacts: r.Contacts, Exit: r.Exit, Out: c.out,
	}
	if r.EnvFile != "" {
		options.EnvFile, options.EnvFileAsked = r.EnvFile, true
	}
	return localrun.Run(ctx, options)
}
