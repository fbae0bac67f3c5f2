// Command worker syncs contacts from the CRM to the site.
package main

import (
	"os"

	"spillway/internal/assembly"
	"spillway/internal/config"
)

func main() { os.Exit(assembly.Main(config.Worker, assembly.Worker)) }
