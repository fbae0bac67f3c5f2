// The command run measures everything that the performance figures state, on
// this machine, with the programs that `make build` makes.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"spillway/internal/lab/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	// A benchmark starts its load and its contenders as processes of their own.
	if len(args) == 2 && args[0] == bench.PartCommand {
		return bench.Part(ctx, args[1])
	}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	only := flags.String("only", "", "take these measurements only, comma-separated: "+strings.Join(bench.Names(), ", "))
	quick := flags.Bool("quick", false, "fewer and shorter rounds; the figures are noisy")
	verbose := flags.Bool("verbose", false, "show what the plugin asks of the database")
	json := flags.String("json", "var/bench.json", "where the report is written")
	markdown := flags.Bool("markdown", false, "measure nothing; print the last report as Markdown")
	bin := flags.String("bin", "bin", "the folder of the programs that are measured")
	_ = flags.Parse(args) // ends the program itself
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *markdown {
		return bench.Markdown(*json, os.Stdout)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program's file: %w", err)
	}
	options := bench.Options{Quick: *quick, Verbose: *verbose, JSON: *json, Self: self, Bin: *bin, Out: os.Stdout}
	if *only != "" {
		options.Only = strings.Split(*only, ",")
	}
	return bench.Run(ctx, options)
}
