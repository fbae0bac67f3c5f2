// Command ingest takes the CRM's webhooks and keeps them in Redis.
package main

import (
	"os"

	"spillway/internal/assembly"
	"spillway/internal/config"
)

func main() { os.Exit(assembly.Main(config.Ingest, assembly.Ingest)) }
