// Package localrun is `spillway run`: everything on this machine with one
// command. Without settings for a CRM and a site it starts stand-ins for both
// and shows a burst of webhooks being absorbed; with them, in the environment
// or in .env, it runs against the real ones.
package localrun

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/observe"
)

// Options are what the command line says.
type Options struct {
	Flags   config.Flags
	Environ []string
	// EnvFile may be missing unless EnvFileAsked.
	EnvFile      string
	EnvFileAsked bool
	// Folder holds the data of Redis and the log.
	Folder   string
	Webhooks int // of the burst on the stand-ins
	Contacts int
	// Sites is how many sites the stand-ins are, up to [MostSites]; zero: one.
	Sites int
	// Exit ends the run after the burst instead of staying up.
	Exit bool
	Out  io.Writer
}

// MostSites bounds the stand-ins of a run: what it prints of each fits on a
// screen.
const MostSites = 9

// Run starts everything, and returns after ctx ended and everything stopped.
func Run(ctx context.Context, options Options) error {
	environ, err := config.WithEnvFile(options.Environ, options.EnvFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !options.EnvFileAsked:
		environ = options.Environ
	case err != nil:
		return err
	}
	if err := config.SetTraces(environ); err != nil {
		return err
	}
	settings, err := options.Flags.Config(config.All, environ)
	if err != nil {
		return err
	}
	if settings.Unconfigured() {
		return runSandbox(ctx, options, settings, environ)
	}
	if options.Sites > 1 {
		return errors.New("--sites is for stand-ins, and the settings name a CRM or a site: leave --sites out")
	}
	return runReal(ctx, options, settings)
}

// runReal runs against the configured CRM and site.
func runReal(ctx context.Context, options Options, settings config.Config) error {
	log := observe.NewLogger(settings.LogLevel, settings.LogFormat, os.Stderr)
	asked := settings.RedisURL
	stopStore, err := provideStore(ctx, options, &settings, "redis")
	if err != nil {
		return err
	}
	defer stopStore()
	// Nobody else knows the port of a Redis of this run's own.
	if settings.RedisURL != asked {
		withdraw, err := announce(options.Folder, settings, nil)
		if err != nil {
			return err
		}
		defer withdraw()
	}
	say(options.Out, "Webhooks: %s   admin: http://%s/\n", settings.IngestAddr, settings.AdminAddr)
	say(options.Out, "Stop with Ctrl-C.\n")
	return serve(ctx, settings, log)
}

// provideStore points the settings at a Redis of this run, unless they name one.
func provideStore(ctx context.Context, options Options, settings *config.Config, name string) (stop func(), err error) {
	embedded := settings.RedisURL == "embedded"
	if settings.RedisGiven && !embedded {
		return func() {}, nil
	}
	s, err := openStore(ctx, filepath.Join(options.Folder, name), embedded)
	if err != nil {
		return nil, err
	}
	settings.RedisURL = s.url
	say(options.Out, "%s\n", s.notice)
	return s.stop, nil
}

// serve runs ingest and a worker. Ingest stops first, the worker when its
// passes are done; if one fails, both stop.
func serve(ctx context.Context, settings config.Config, log zerolog.Logger) error {
	observe.LogRedis(log)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return assembly.IngestIn(ctx, settings, log, nil) })
	group.Go(func() error { return assembly.Worker(ctx, settings, log) })
	err := group.Wait()
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: another program, perhaps another Spillway, has this address; stop it, or set SPILLWAY_INGEST_ADDR, SPILLWAY_ADMIN_ADDR or SPILLWAY_WORKER_ADDR", err)
	}
	return err
}

func say(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format, args...) // the terminal may be gone; the work goes on
}

// settleTime is how long the burst may take to drain. After that the run says so
// and stays up.
const settleTime = 10 * time.Minute
