package localrun_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/config"
	"spillway/internal/lab/freeport"
	"spillway/internal/lab/logtest"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/operate/localrun"
	"spillway/internal/sites"
)

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := freeport.Addr()
	require.NoError(t, err)
	return addr
}

// addresses are settings for free ports.
func addresses(t *testing.T) (environ []string, webhooks string) {
	t.Helper()
	webhooks = freeAddr(t)
	return []string{
		"SPILLWAY_INGEST_ADDR=" + webhooks, "SPILLWAY_ADMIN_ADDR=" + freeAddr(t), "SPILLWAY_WORKER_ADDR=" + freeAddr(t),
	}, webhooks
}

func status(t *testing.T, url string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	return response.StatusCode
}

// run starts a run and returns what ends it and waits for the end.
func run(t *testing.T, options localrun.Options) (stop func()) {
	t.Helper()
	seen := &logtest.Log{}
	options.Out = seen
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- localrun.Run(ctx, options) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done, "%s", seen)
		})
	}
	t.Cleanup(stop)
	return stop
}

func TestFirstRunAbsorbsABurstOnStandIns(t *testing.T) {
	t.Parallel()
	for name, redis := range map[string]struct{ setting, says string }{
		"embedded Redis": {"embedded", "IT KEEPS NOTHING"},
		"private Redis":  {"", "append-only file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if redis.setting == "" {
				redistest.Need(t)
			}
			environ, _ := addresses(t)
			out := &logtest.Log{}
			err := localrun.Run(t.Context(), localrun.Options{
				Environ: append(environ, "SPILLWAY_REDIS_URL="+redis.setting),
				EnvFile: filepath.Join(t.TempDir(), ".env"), Folder: t.TempDir(),
				Webhooks: 200, Contacts: 20, Exit: true, Out: out,
			})
			require.NoError(t, err, "%s", out)
			require.Contains(t, out.String(), redis.says)
			require.Contains(t, out.String(), "200 of 200 in")
			require.Contains(t, out.String(), "parked contacts 0")
		})
	}
}

// Each site of a first run has stand-ins and a key of its own, and other commands
// find them all.
func TestFirstRunShowsSeveralSites(t *testing.T) {
	t.Parallel()
	environ, _ := addresses(t)
	folder, out := t.TempDir(), &logtest.Log{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- localrun.Run(ctx, localrun.Options{
			Environ: append(environ, "SPILLWAY_REDIS_URL=embedded"), EnvFile: filepath.Join(folder, ".env"), Folder: folder,
			Webhooks: 200, Contacts: 20, Sites: 2, Out: out,
		})
	}()
	polltest.Until(t, 60*time.Second, func() bool { return strings.Contains(out.String(), "Stop with Ctrl-C.") }, "the run invites to try")
	for _, said := range []string{"2 sites", "200 of 200 in", "parked contacts 0", "an add on site-2  ", "synced after", "&contact_id=17", "/api/v1/contacts/17?site=site-2", "/api/v1/sites"} {
		require.Contains(t, out.String(), said)
	}
	path, ok := localrun.Running(folder)
	require.True(t, ok)
	found, err := config.WithEnvFile(nil, path)
	require.NoError(t, err)
	settings, err := config.Load(config.Operator, nil, found)
	require.NoError(t, err)
	all, err := sites.Read(settings, config.Operator)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.NotEqual(t, all[0].CRM.URL, all[1].CRM.URL)
	require.NotEqual(t, all[0].Site.URL, all[1].Site.URL)
	for _, site := range all {
		hook := fmt.Sprintf("%s/?wpf_action=add&access_key=%s&contact_id=17", settings.PublicURL, site.AccessKeys[0])
		require.Contains(t, out.String(), hook)
		require.Equal(t, http.StatusOK, status(t, hook+"&wait=20"))
	}
	again, _ := addresses(t)
	err = localrun.Run(t.Context(), localrun.Options{
		Environ: append(again, "SPILLWAY_REDIS_URL=embedded"), EnvFile: filepath.Join(folder, ".env"), Folder: folder, Out: out, Exit: true,
	})
	require.ErrorContains(t, err, "stop it first")
	_, err = sites.Read(settings, config.Operator)
	require.NoError(t, err, "a second run in the folder takes nothing from the first")
	cancel()
	require.NoError(t, <-done, "%s", out)

	err = localrun.Run(t.Context(), localrun.Options{
		Environ: []string{"SPILLWAY_FIELDS=user_email=email"}, EnvFile: filepath.Join(folder, ".env"), Folder: folder, Sites: 2, Out: out,
	})
	require.ErrorContains(t, err, "SPILLWAY_FIELDS", "what a site sets cannot be meant for all")
}

func TestRunWithAnEnvFileKeepsWebhooksOverARestart(t *testing.T) {
	t.Parallel()
	redistest.Need(t)
	stand, err := sandbox.Serve(sandbox.Options{
		CRM:  sandbox.CRMOptions{Token: "a-token"},
		Site: sandbox.SiteOptions{User: "spillway", AppPassword: "an app password"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	stand.CRM.Put("7", map[string]any{"email": "seven@example.org"}, []int{3})

	folder := t.TempDir()
	envFile := filepath.Join(folder, "settings.env")
	require.NoError(t, os.WriteFile(envFile, []byte(strings.Join([]string{
		"SPILLWAY_ACCESS_KEYS=a-long-access-key",
		"SPILLWAY_CRM_URL=" + stand.CRMURL, "SPILLWAY_CRM_TOKEN=a-token",
		"SPILLWAY_SITE_URL=" + stand.SiteURL, "SPILLWAY_SITE_USER=spillway", "SPILLWAY_SITE_APP_PASSWORD='an app password'",
		"SPILLWAY_RETURN_PASSWORD_FIELD=wp_password",
		"SPILLWAY_SECRET_KEY=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
	}, "\n")), 0o600))
	environ, webhooks := addresses(t)
	options := localrun.Options{Environ: environ, EnvFile: envFile, EnvFileAsked: true, Folder: filepath.Join(folder, "var")}

	// The CRM is away, so the webhook waits; then everything is restarted.
	require.NoError(t, stand.CRM.FailNext(1000, http.StatusServiceUnavailable))
	stop := run(t, options)
	hook := fmt.Sprintf("http://%s/?wpf_action=add&access_key=a-long-access-key&contact_id=7", webhooks)
	polltest.Until(t, 20*time.Second, func() bool { return status(t, hook) == http.StatusOK }, "the webhook is taken")
	stop()
	require.Empty(t, stand.Site.UsersByContact("7"))

	stand.CRM.ClearFaults()
	run(t, options)
	require.Eventually(t, func() bool { return stand.CRM.Received("wp_password") == 1 }, 60*time.Second, 50*time.Millisecond)
	require.Len(t, stand.Site.UsersByContact("7"), 1)
}

func TestRunRefusesWrongSettingsAndAMissingFile(t *testing.T) {
	t.Parallel()
	err := localrun.Run(t.Context(), localrun.Options{
		Environ: []string{"SPILLWAY_CRM_URL=htp://x"}, EnvFile: filepath.Join(t.TempDir(), ".env"), Out: &logtest.Log{},
	})
	var invalid *config.Invalid
	require.ErrorAs(t, err, &invalid)
	require.Greater(t, len(invalid.Problems), 1)
	err = localrun.Run(t.Context(), localrun.Options{EnvFile: filepath.Join(t.TempDir(), "none.env"), EnvFileAsked: true, Out: &logtest.Log{}})
	require.ErrorContains(t, err, "none.env")
}
