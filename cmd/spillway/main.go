// Command spillway is the operator's tool.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/alecthomas/kong"

	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/localrun"
	"spillway/internal/observe"
)

type commands struct {
	Run       runCommand       `cmd:"" help:"Run everything on this machine: against the CRM and site of the environment or .env, or against stand-ins."`
	Bench     benchCommand     `cmd:"" help:"Measure everything that the README's performance section states, on this machine."`
	BenchPart benchPartCommand `cmd:"" hidden:"" name:"bench-part"`

	Version kong.VersionFlag `help:"Print the version."`
}

type runCommand struct {
	config.Flags

	EnvFile  string `name:"env-file" placeholder:"PATH" help:"Settings as NAME=value lines (default .env, if there is one)."`
	Folder   string `name:"folder" default:"var" placeholder:"PATH" help:"Where Redis and the log are kept."`
	Webhooks int    `name:"webhooks" default:"10000" help:"Webhooks of the burst on the stand-ins."`
	Contacts int    `name:"contacts" default:"2000" help:"Contacts of the burst on the stand-ins."`
	Exit     bool   `name:"exit" help:"Stop after the burst on the stand-ins."`
}

// Run is called by kong.
func (r *runCommand) Run(ctx context.Context) error {
	options := localrun.Options{
		Flags: r.Flags, Environ: os.Environ(), EnvFile: ".env", Folder: r.Folder,
		Webhooks: r.Webhooks, Contacts: r.Contacts, Exit: r.Exit, Out: os.Stdout,
	}
	if r.EnvFile != "" {
		options.EnvFile, options.EnvFileAsked = r.EnvFile, true
	}
	return localrun.Run(ctx, options)
}

func main() {
	ctx, stop := assembly.Signals(context.Background())
	defer stop()
	var cli commands
	parsed := kong.Parse(&cli, kong.Name("spillway"), kong.Description("Takes a CRM's webhooks in a WordPress site's place."),
		kong.Vars{"version": fmt.Sprintf("spillway %s", observe.Version())}, kong.BindTo(ctx, (*context.Context)(nil)))
	if err := parsed.Run(); err != nil {
		stop()
		os.Exit(assembly.ExitCode(os.Stderr, err))
	}
}
