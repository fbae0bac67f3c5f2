package main

import (
	"context"
	"fmt"
	"os"

	"spillway/internal/bench"
)

type benchCommand struct {
	Only     []string `name:"only" placeholder:"NAME" help:"Take these measurements only, comma-separated."`
	Quick    bool     `name:"quick" help:"Fewer and shorter rounds; the figures are noisy."`
	Verbose  bool     `name:"verbose" help:"Show what the plugin asks of the database."`
	JSON     string   `name:"json" default:"var/bench.json" placeholder:"PATH" help:"Where the report is written."`
	Markdown bool     `name:"markdown" help:"Measure nothing; print the report of the last run as Markdown."`
}

// Run is called by kong.
func (b *benchCommand) Run(ctx context.Context) error {
	if b.Markdown {
		return bench.Markdown(b.JSON, os.Stdout)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program's file: %w", err)
	}
	return bench.Run(ctx, bench.Options{Only: b.Only, Quick: b.Quick, Verbose: b.Verbose, JSON: b.JSON, Self: self, Out: os.Stdout})
}

// benchPartCommand is what a benchmark starts as processes of their own.
type benchPartCommand struct {
	Name string `arg:""`
}

// Run is called by kong.
func (b *benchPartCommand) Run(ctx context.Context) error { return bench.Part(ctx, b.Name) }
