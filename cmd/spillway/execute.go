package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9"

	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/observe"
)

// The exit codes; docs/command-line.md lists them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2 // wrong arguments
	exitFindings    = 3 // the doctor found failures, or reconcile differences
	exitSettings    = assembly.ExitSettings
	exitInterrupted = 130
)

const description = `Takes a CRM's webhooks in a WordPress site's place.

Settings are read from the environment and from .env in this folder; ` + "`spillway env`" + ` prints them all. ` +
	"Beside a `spillway run` in this folder the other commands find its Redis, and its stand-ins, by themselves; " +
	"otherwise the settings and secrets of the services that are installed on this machine, in /etc/spillway, for root and the group spillway. " +
	`Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 the doctor found failures or reconcile differences, 78 wrong settings, 130 interrupted.`

// usageError is a wrong use that kong cannot see.
type usageError string

func (e usageError) Error() string { return string(e) }

// errFindings ends a doctor that has found failures; they are printed already.
var errFindings = errors.New("the doctor found failures")

// errDiffers ends a comparison that has found differences; they are printed
// already.
var errDiffers = errors.New("the CRM and the site differ")

// execute runs a command line and returns the exit code.
func execute(ctx context.Context, args []string, c *console) int {
	parser, exited, err := newParser(ctx, c)
	if err != nil {
		return c.report(err)
	}
	// The commands say themselves what Redis did not answer.
	redis.SetLogger(silent{})
	parsed, err := parser.Parse(args)
	switch {
	case *exited:
		return exitOK // --help and --version
	case err != nil:
		return c.report(usageError(err.Error()))
	}
	return c.report(parsed.Run())
}

// silent is a logger of go-redis that says nothing.
type silent struct{}

// Printf is called by go-redis.
func (silent) Printf(context.Context, string, ...any) {}

// newParser returns the parser of all commands. exited turns true when it has
// printed what was asked for.
func newParser(ctx context.Context, c *console) (parser *kong.Kong, exited *bool, err error) {
	exited = new(bool)
	parser, err = kong.New(new(commands),
		kong.Name("spillway"), kong.Description(description),
		kong.Vars{"version": "spillway " + observe.Version()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(c.out, c.err),
		kong.Exit(func(int) { *exited = true }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(c),
	)
	return parser, exited, err
}

// report writes an error for a person and returns its exit code.
func (c *console) report(err error) int {
	var usage usageError
	var invalid *config.Invalid
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFindings), errors.Is(err, errDiffers):
		return exitFindings
	case errors.As(err, &usage):
		fmt.Fprintf(c.err, "spillway: %s\nSee spillway --help.\n", usage)
		return exitUsage
	case errors.As(err, &invalid):
		return assembly.ExitCode(c.err, err)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(c.err, "Interrupted.")
		return exitInterrupted
	}
	fmt.Fprintln(c.err, "spillway:", err)
	return exitFailed
}
