package localrun

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"spillway/internal/config"
	"spillway/internal/lab/sandbox"
	"spillway/internal/observe"
)

// passwordField is the stand-in CRM's field for generated passwords.
const passwordField = "wp_password"

// runSandbox runs against stand-ins, sends a burst and stays up.
func runSandbox(ctx context.Context, options Options, settings config.Config) error {
	if err := os.MkdirAll(options.Folder, 0o700); err != nil {
		return fmt.Errorf("making the folder %s: %w", options.Folder, err)
	}
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

	stand, err := standIns(&settings)
	if err != nil {
		return err
	}
	defer stand.Close(context.WithoutCancel(ctx))
	say(options.Out, "No CRM and no site are configured: running against stand-ins for both.\n")
	stopStore, err := provideStore(ctx, options, &settings, "sandbox")
	if err != nil {
		return err
	}
	defer stopStore()
	withdraw, err := announce(options.Folder, settings, true)
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
	say(options.Out, "Webhooks: http://%s/   admin: http://%s/   log: %s\n\n", settings.IngestAddr, settings.AdminAddr, logFile.Name())

	if err := show(ctx, options, settings, stand); err != nil && ctx.Err() == nil {
		say(options.Out, "The burst did not come to its end: %v\n", err)
	}
	if !options.Exit && ctx.Err() == nil {
		invite(options.Out, settings)
		<-ctx.Done()
	}
	say(options.Out, "\nStopping.\n")
	stop()
	return <-served
}

// standIns starts the sandbox's CRM and site and points the settings at them.
// What the environment says about limits and mapping stays.
func standIns(settings *config.Config) (*sandbox.Running, error) {
	token, appPassword := rand.Text(), rand.Text()
	stand, err := sandbox.Serve(sandbox.Options{
		// The latency that WP Fusion was measured with; see docs/performance.md.
		CRM:  sandbox.CRMOptions{Latency: 100 * time.Millisecond, Token: token},
		Site: sandbox.SiteOptions{User: "spillway", AppPassword: appPassword},
	})
	if err != nil {
		return nil, fmt.Errorf("starting the stand-ins: %w", err)
	}
	settings.CRM.URL, settings.CRM.Token = stand.CRMURL, token
	settings.Site.URL, settings.Site.User, settings.Site.AppPassword = stand.SiteURL, "spillway", appPassword
	if settings.CreationLimit == 1000 {
		settings.CreationLimit = 0 // the burst creates more, on purpose
	}
	if settings.CRM.Rate == 40 {
		settings.CRM.Rate = 500 // the stand-in bears more than a CRM whose limits are unknown
	}
	if settings.CRM.Concurrency == 16 {
		settings.CRM.Concurrency = 64
	}
	if settings.ReturnPasswordField == "" {
		settings.ReturnPasswordField = passwordField
	}
	if len(settings.AccessKeys) == 0 {
		settings.AccessKeys = []string{"sandbox-" + strings.ToLower(rand.Text()[:8])}
	}
	if len(settings.SecretKey) == 0 {
		settings.SecretKey = make([]byte, 32)
		_, _ = rand.Read(settings.SecretKey) // never fails, see crypto/rand
	}
	if len(settings.SearchKey) == 0 {
		settings.SearchKey = make([]byte, 32)
		_, _ = rand.Read(settings.SearchKey)
	}
	if host, port, err := net.SplitHostPort(settings.IngestAddr); err == nil && host == "" {
		settings.IngestAddr = net.JoinHostPort("127.0.0.1", port) // a demonstration is for this machine
	}
	return stand, nil
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

// get reads JSON into answer, if it is not nil.
func get(ctx context.Context, url string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
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

func invite(w io.Writer, settings config.Config) {
	hook := fmt.Sprintf("http://%s/?wpf_action=update&access_key=%s&contact_id=17", settings.IngestAddr, settings.AccessKeys[0])
	say(w, "\nEverything stays up. Try a webhook, and look what became of it:\n")
	say(w, "  curl '%s'\n", hook)
	say(w, "  curl 'http://%s/api/v1/contacts/17'\n", settings.AdminAddr)
	say(w, "Or, in another terminal in this folder: ./bin/spillway doctor, contact 17, resync --all-tagged.\n")
	say(w, "Stop with Ctrl-C.\n")
}
