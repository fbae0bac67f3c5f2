package assembly

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/rs/zerolog"

	"spillway/internal/config"
	"spillway/internal/observe"
)

// Program is what a server does from start to stop.
type Program func(ctx context.Context, settings config.Config, log zerolog.Logger) error

// Main reads the settings, runs the program until SIGINT or SIGTERM, and
// returns the exit code: 0 after such a stop, [ExitSettings] for wrong settings,
// 1 otherwise. A second signal ends the process at once. With the first argument
// "health" it checks a running process instead, and returns 0 or 1.
func Main(role config.Role, run Program) int {
	if len(os.Args) > 1 && os.Args[1] == healthCommand {
		return health(role, os.Args[2:], os.Environ(), os.Stderr)
	}
	settings, err := config.Load(role, os.Args[1:], os.Environ())
	if err != nil {
		return ExitCode(os.Stderr, err)
	}
	ctx, stop := Signals(context.Background())
	defer stop()
	log := observe.NewLogger(settings.LogLevel, settings.LogFormat, os.Stderr)
	observe.LogRedis(log)
	err = run(ctx, settings, log)
	var invalid *config.Invalid
	switch {
	case errors.As(err, &invalid): // of a site
		return ExitCode(os.Stderr, err)
	case err != nil:
		log.Error().Err(err).Msg("stopped")
		return 1
	}
	log.Info().Msg("stopped")
	return 0
}

// Signals returns a context that the first SIGINT or SIGTERM ends; the second
// one ends the process.
func Signals(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// ExitSettings is the exit code for wrong settings: EX_CONFIG of sysexits.h. It
// differs from 2, the exit code of a Go program that panicked: a service manager
// should restart after a panic, but wrong settings do not mend themselves.
const ExitSettings = 78

// ExitCode writes an error of the settings for a person and returns the exit
// code that belongs to it.
func ExitCode(w io.Writer, err error) int {
	var usage *config.Usage
	var invalid *config.Invalid
	switch {
	case errors.As(err, &usage):
		_, _ = fmt.Fprintln(w, usage.Text)
		return 0
	case errors.As(err, &invalid):
		_, _ = fmt.Fprintln(w, "Wrong settings, nothing was started:")
		for _, problem := range invalid.Problems {
			_, _ = fmt.Fprintln(w, "  "+problem)
		}
		return ExitSettings
	}
	_, _ = fmt.Fprintln(w, err)
	return 1
}
