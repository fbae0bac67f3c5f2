// The command run serves the stand-in CRM and site until it is told to stop, for
// scripts, which play their users by the routes below /control/. Where each
// listens is an argument: run CRM-ADDRESS SITE-ADDRESS. Their data are gone with
// the process.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"spillway/internal/lab/sandbox"
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
	if len(args) != 2 {
		return errors.New("usage: run CRM-ADDRESS SITE-ADDRESS, such as 127.0.0.1:9001 127.0.0.1:9002")
	}
	stand, err := sandbox.Serve(sandbox.Options{CRMAddr: args[0], SiteAddr: args[1]})
	if err != nil {
		return err
	}
	fmt.Println("CRM", stand.CRMURL, "site", stand.SiteURL)
	<-ctx.Done()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return stand.Close(closing)
}
