package localrun

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"spillway/internal/config"
	"spillway/internal/observe"
)

// runSandbox runs against stand-ins, sends a burst and stays up. environ is what
// the settings were read from.
func runSandbox(ctx context.Context, options Options, settings config.Config, environ []string) error {
	if err := os.MkdirAll(options.Folder, 0o700); err != nil {
		return fmt.Errorf("making the folder %s: %w", options.Folder, err)
	}
	// Another run's Redis writes into the folder that is cleared.
	unlock, err := lockFolder(options.Folder)
	if err != nil {
		return err
	}
	defer unlock()
	// The stand-ins forget everything, so outstanding work of an earlier run is
	// useless.
	if err := os.RemoveAll(filepath.Join(options.Folder, "sandbox")); err != nil {
		return fmt.Errorf("clearing the folder of the last sandbox run: %w", err)
	}
	logFile, err := os.OpenFile(filepath.Join(options.Folder, "spillway.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	defer logFile.Close()
	log := observe.NewLogger(settings.LogLevel, settings.LogFormat, logFile)

	if options.Sites > 1 {
		settings, err = severalSites(options, environ)
		if err != nil {
			return err
		}
	}
	forThisMachine(&settings)
	say(options.Out, "No CRM and no site are configured: running against stand-ins for both.\n")
	stopStore, err := provideStore(ctx, options, &settings, "sandbox")
	if err != nil {
		return err
	}
	defer stopStore()
	shown, err := standIns(&settings, options.Sites)
	defer func() {
		for _, one := range shown {
			_ = one.stand.Close(context.WithoutCancel(ctx))
		}
	}()
	if err != nil {
		return err
	}
	withdraw, err := announce(options.Folder, settings, shown)
	if err != nil {
		return err
	}
	defer withdraw()

	serveCtx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	// A program that fails ends the run, the burst included.
	asked := ctx
	ctx, failed := context.WithCancel(ctx)
	defer failed()
	go func() {
		served <- serve(serveCtx, settings, log)
		failed()
	}()
	if err := await(ctx, "http://"+settings.AdminAddr+"/readyz"); err != nil {
		interrupted := asked.Err() != nil
		stop()
		if failure := <-served; failure != nil || interrupted {
			return failure
		}
		return err
	}
	say(options.Out, "Webhooks: http://%s/   admin: http://%s/   log: %s\n", settings.IngestAddr, settings.AdminAddr, logFile.Name())
	introduce(options.Out, shown)

	if err := show(ctx, options, shown); err != nil && ctx.Err() == nil {
		say(options.Out, "The burst did not come to its end: %v\n", err)
	}
	if !options.Exit && ctx.Err() == nil {
		invite(options.Out, shown)
		<-ctx.Done()
	}
	say(options.Out, "\nStopping.\n")
	stop()
	return <-served
}

// await returns when the address answers 200, or with an error when ctx ends or
// half a minute has passed.
func await(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if get(ctx, url, nil) == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", url, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// get reads JSON into answer, if it is not nil. An answer to a webhook waits up to
// half a minute for its pass.
func get(ctx context.Context, url string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(answer)
}
