// Package observe is what an operator sees of a running program: its log, its
// metrics, and whether it is alive and ready.
//
// Health, readiness and metrics are open to anyone who reaches their address,
// so what stands there is fixed text, counts and durations: a check's own error
// is never shown (see [Unready]). Metrics carry no contact and no address as a
// label. What a log line holds is up to its writer.
package observe

import (
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"
)

// timeFormat is RFC 3339 with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// NewLogger writes lines of the level and above to w, each with the time in
// UTC. format is "console" for people, with colours on a terminal, or "json".
func NewLogger(level zerolog.Level, format string, w io.Writer) zerolog.Logger {
	if format == "console" {
		w = zerolog.ConsoleWriter{Out: w, NoColor: !isTerminal(w), TimeFormat: "15:04:05.000", TimeLocation: time.UTC}
	}
	// A hook, since zerolog's own time stamp is formatted by a variable of its
	// package.
	stamp := zerolog.HookFunc(func(e *zerolog.Event, _ zerolog.Level, _ string) {
		e.Str(zerolog.TimestampFieldName, time.Now().UTC().Format(timeFormat))
	})
	return zerolog.New(w).Level(level).Hook(stamp)
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
