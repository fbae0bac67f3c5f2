// The command run tortures the built programs: each seed with each way to run
// Redis. It prints figures while it runs and a summary, and ends with code 1
// when anything was lost, doubled or left behind.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"spillway/internal/lab/torture"
)

func main() {
	seeds := flag.String("seeds", "1", "comma-separated numbers; each is a run of its own")
	minutes := flag.Float64("minutes", 3, "how long things go wrong in each run")
	modes := flag.String("redis", "always,everysec,sentinel", "how Redis is run; also slow-always and slow-everysec, on a slow disk")
	without := flag.String("without", "", "take a guard out: "+strings.Join(torture.Guards(), ", "))
	sites := flag.Int("sites", 1, "how many sites the programs serve, each with a CRM account of its own")
	apart := flag.Duration("clocks", 0, "how far the programs' wall clocks go wrong, for instance 7m")
	keep := flag.String("dir", "", "keep files and logs here")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	passed, err := run(ctx, *seeds, *modes, *without, *keep, torture.Options{
		Fire: time.Duration(*minutes * float64(time.Minute)), ClocksApart: *apart, Sites: *sites, Out: os.Stdout,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if !passed || err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, seeds, modes, without, dir string, options torture.Options) (passed bool, err error) {
	mutation, err := torture.Guard(without)
	if err != nil {
		return false, err
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "spillway-torture-"); err != nil {
			return false, err
		}
		defer func() {
			if passed {
				_ = os.RemoveAll(dir)
			} else {
				fmt.Println("Logs and files are kept in", dir)
			}
		}()
	}
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return false, err
	}
	if err := torture.Programs(ctx, bin, mutation, options.ClocksApart > 0); err != nil {
		return false, err
	}
	passed = true
	var summaries []string
	for seed := range strings.SplitSeq(seeds, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(seed), 10, 64)
		if err != nil {
			return false, fmt.Errorf("the seed %q is no number", seed)
		}
		for mode := range strings.SplitSeq(modes, ",") {
			files := filepath.Join(dir, fmt.Sprintf("%s-%d", mode, n))
			if err := os.MkdirAll(files, 0o700); err != nil {
				return false, err
			}
			options.Mode, options.Seed, options.Bin, options.Dir = torture.Mode(mode), n, bin, files
			report, err := torture.Run(ctx, options)
			if err != nil {
				return false, err
			}
			fmt.Print(report)
			summaries = append(summaries, report.String())
			passed = passed && !report.Failed()
		}
	}
	if len(summaries) > 1 {
		fmt.Printf("\nAll runs:\n%s", strings.Join(summaries, ""))
	}
	return passed, nil
}
