// Command spillway is the operator's tool: it runs everything on one machine,
// examines an installation, and steers one that is running.
package main

import (
	"context"
	"os"

	"github.com/alecthomas/kong"

	"spillway/internal/assembly"
)

// commands are what may follow the program's name.
type commands struct {
	Run       runCommand       `cmd:"" help:"Run everything on this machine: against the CRM and site of the environment or .env, or against stand-ins."`
	Doctor    doctorCommand    `cmd:"" help:"Examine an installation and say what to do about what is wrong."`
	Contact   contactCommand   `cmd:"" help:"Show what became of a contact."`
	Sync      syncCommand      `cmd:"" help:"Sync contacts now."`
	Resync    resyncCommand    `cmd:"" help:"Sync many contacts gently: those with a tag, with any tag, or of a list."`
	Reconcile reconcileCommand `cmd:"" help:"Compare the CRM's tags with the site's, and find or repair what lost webhooks left."`
	Observe   observeCommand   `cmd:"" help:"Tell what passes over an observed site's contacts would do."`
	Parked    parkedCommand    `cmd:"" help:"List, retry or drop contacts that failed for good."`
	Creations creationsCommand `cmd:"" help:"Tell of users that the creation limit held back, allow or drop them."`
	Sites     sitesCommand     `cmd:"" help:"List the sites of an installation, or drop what is left of one that has gone."`
	Pause     pauseCommand     `cmd:"" help:"Let work wait. Webhooks are still accepted."`
	Resume    resumeCommand    `cmd:"" help:"Let work go on after a pause."`

	Connect    connectCommand    `cmd:"" help:"Set up a site by the connection code of its connector plugin."`
	Keys       keysCommand       `cmd:"" help:"Make an access key and a secret key."`
	Relay      relayCommand      `cmd:"" help:"Print the lines by which the site's web server knows the requests of mode relay."`
	Env        envCommand        `cmd:"" help:"Print all settings as a commented .env file."`
	Plugin     pluginCommand     `cmd:"" help:"Write the connector plugin for the WordPress site as a zip file."`
	Completion completionCommand `cmd:"" help:"Print the completion script of a shell."`
	Version    versionCommand    `cmd:"" help:"Print the version."`

	VersionFlag kong.VersionFlag `name:"version" help:"Print the version and exit."`
}

func main() {
	ctx, stop := assembly.Signals(context.Background())
	defer stop()
	code := execute(ctx, os.Args[1:], &console{out: os.Stdout, err: os.Stderr, in: os.Stdin, environ: os.Environ(), installed: installedSettings, data: installedData})
	stop()
	os.Exit(code)
}
