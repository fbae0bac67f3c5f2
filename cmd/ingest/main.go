// Command ingest takes the CRM's webhooks and keeps them in Redis.
package main

import (
	"os"
	"runtime/debug"

	"spillway/internal/assembly"
	"spillway/internal/config"
)

func main() {
	collectSeldom()
	os.Exit(assembly.Main(config.Ingest, assembly.Ingest))
}

// collectSeldom lets garbage grow to four times what is in use, which is a few
// megabytes: the collector would run a dozen times a second in a burst, and
// webhooks would wait for it. The limit keeps many connections from making much
// of that; it lies below what deploy/kubernetes allows. Whoever sets Go's own
// variables is obeyed.
func collectSeldom() {
	const percent, limit = 400, 192 << 20
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
}
