// Package bench is `make bench`: it measures, on one machine and in one
// run, what docs/performance.md states, and compares each figure
// with its bound.
//
// It guarantees that both sides of a ratio were measured in the same run, under
// the same load from a process of its own, with rounds that alternate so that
// drift of the machine meets both, and that a figure which could not be taken
// stands in the table as such. The programs are the built ones, Redis is a real
// one with an append-only file (everysec), the site is a real WordPress; only
// the CRM, and the site where its cost is not the question, are stand-ins.
//
// Its limits: load, programs, Redis and WordPress share the machine, so ratios
// carry over to another machine, absolute figures do not. It needs a checkout
// of the repository, for the connector plugin, and the Debian packages of the
// tests.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Options are what the command line says.
type Options struct {
	// Only are the names of the measurements to take; none: all but those
	// that have to be asked for.
	Only []string
	// Quick takes fewer and shorter rounds: a trial, whose figures are noisy.
	Quick bool
	// Verbose shows what the plugin asks of the database.
	Verbose bool
	// JSON is where the report is written; empty: nowhere.
	JSON string
	// Self is this program's file: started with PartCommand it is also the load
	// generator and the contenders.
	Self string
	Bin  string // the folder of the programs that are measured
	Out  io.Writer
}

// PartCommand comes before the name of what a benchmark starts as a process of
// its own; see [Part].
const PartCommand = "part"

// measurement takes the figures of one question.
type measurement struct {
	name  string
	about string
	take  func(ctx context.Context, s *stage) []Row
	asked bool // taken only when it is asked for by its name
}

// wanted says whether to take a measurement.
func (m measurement) wanted(only []string) bool {
	if len(only) == 0 {
		return !m.asked
	}
	return slices.Contains(only, m.name)
}

// measurements are all there are, in the order of the table.
func measurements() []measurement {
	return []measurement{
		{name: "ingest", about: "webhooks acknowledged, against an echo handler that does nothing and one that enqueues", take: ingestRows},
		{name: "growth", about: "the same with a thousand and with a million contacts pending", take: growthRows},
		{name: "drain", about: "passes per second against the CRM's bound", take: drainRows},
		{name: "admission", about: "a CRM that takes few calls, or asks for a long pause: what fails, is wasted, or loses its turn", take: admissionRows},
		{name: "slow", about: "the same with slower CRMs and a pause of two minutes, a quarter of an hour in all", take: slowRows, asked: true},
		{name: "settle", about: "passes per edit of several webhooks", take: settleRows},
		{name: "site", about: "a burst on WordPress, through Spillway and sent straight", take: siteRows},
		{name: "relay", about: "a burst on WP Fusion's own endpoint, in mode relay and sent straight", take: relayRows, asked: true},
		{name: "plugin", about: "what the connector plugin costs per contact", take: pluginRows},
		{name: "answer", about: "the answer to a lone add, when the CRM holds the password", take: answerRows},
		{name: "guard", about: "a site that slows down, a slow site, a lone webhook", take: guardRows},
		{name: "budget", about: "a CRM that allows less than is configured", take: budgetRows},
		{name: "memory", about: "what timelines take of Redis, and a Redis of 64 MB", take: memoryRows},
		{name: "reconcile", about: "what `spillway reconcile` finds, costs and takes, while contacts are edited", take: reconcileRows, asked: true},
		{name: "sites", about: "several sites in one installation: what one's trouble costs another, a hundred idle ones, a thousand", take: sitesRows, asked: true},
		{name: "start", about: "start-up and footprint", take: startRows},
		{name: "disk", about: "appendfsync always against everysec, on this disk and on a slow one", take: diskRows, asked: true},
		{name: "scale", about: "a Redis of several nodes: a master's failure under Sentinel, a Cluster", take: scaleRows, asked: true},
	}
}

// Names are the names of the measurements.
func Names() []string {
	var names []string
	for _, m := range measurements() {
		names = append(names, m.name)
	}
	return names
}

// Run takes the measurements, prints the table as it grows and writes the
// report. A missed bound is no error; a measurement that could not be taken is.
func Run(ctx context.Context, options Options) error {
	for _, name := range options.Only {
		if !slices.Contains(Names(), name) {
			return fmt.Errorf("no measurement is named %q: use %s", name, strings.Join(Names(), ", "))
		}
	}
	bin, err := filepath.Abs(options.Bin)
	if err != nil {
		return fmt.Errorf("looking for the programs: %w", err)
	}
	for _, program := range []string{"ingest", "worker"} {
		if _, err := os.Stat(filepath.Join(bin, program)); err != nil {
			return fmt.Errorf("looking for the program %s: %w; run `make build`", program, err)
		}
	}
	report := Report{Machine: machine(ctx), Quick: options.Quick, Began: time.Now().UTC().Truncate(time.Second)}
	report.Machine.write(options.Out)
	var failures []error
	for _, m := range measurements() {
		if !m.wanted(options.Only) {
			continue
		}
		began := time.Now()
		rows, err := onStage(ctx, m, options, bin)
		if err != nil {
			failures = append(failures, fmt.Errorf("measuring %s: %w", m.name, err))
			rows = append(rows, Row{What: m.about, Note: "not measured: " + firstLine(err)})
		}
		for i := range rows {
			rows[i].Group = m.name
		}
		report.Rows = append(report.Rows, rows...)
		report.Seconds += time.Since(began).Seconds()
		_, _ = fmt.Fprintf(options.Out, "\n%s: %s (%.0f s)\n", m.name, m.about, time.Since(began).Seconds())
		writeTable(options.Out, rows)
		if ctx.Err() != nil {
			return errors.Join(append(failures, ctx.Err())...)
		}
	}
	met, bound := report.met()
	_, _ = fmt.Fprintf(options.Out, "\n%d of %d bounds met, %.0f s\n", met, bound, report.Seconds)
	if options.JSON != "" {
		if err := report.write(options.JSON); err != nil {
			failures = append(failures, err)
		} else {
			_, _ = fmt.Fprintf(options.Out, "written to %s\n", options.JSON)
		}
	}
	return errors.Join(failures...)
}

// Markdown writes the table of an earlier run as docs/performance.md has it.
func Markdown(path string, w io.Writer) error {
	report, err := readReport(path)
	if err != nil {
		return err
	}
	return report.markdown(w)
}

func firstLine(err error) string {
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return "unknown"
}
