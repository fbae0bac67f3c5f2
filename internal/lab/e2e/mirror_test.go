package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
)

func TestSiteKeepsItsWebhooksAndSpillwayGetsACopy(t *testing.T) {
	t.Parallel()
	ingest := freeAddr(t)
	f := &front{name: "nginx", logs: t.TempDir()}
	require.NoError(t, os.Chmod(f.logs, 0o777))
	files := shipped(t, "nginx", ingest, f, "/var/log/nginx/", f.logs+"/")
	site := wptest.Start(t, wptest.Options{
		Plugins:     map[string]string{"sees-webhooks.php": seesWebhooks},
		NginxHTTP:   "include " + files + "/spillway-http.conf;\n",
		NginxServer: "access_log " + f.logs + "/access.log masked;\ninclude " + files + "/spillway-mirror.conf;",
	})
	s := startBefore(t, site, map[string]string{"SPILLWAY_INGEST_ADDR": ingest, "SPILLWAY_MODE": "observe"})
	client := f.client(t, "127.0.0.9")
	for id := 1; id <= 4; id++ {
		s.put(id, map[string]any{"email": email(id), "first_name": "New"}, 24)
	}
	before := s.site.PHP(`echo count_users()['total_users'];`)

	// In the address, in a body, and by WP Fusion's other entrance.
	keep := func(method, address, body string) {
		t.Helper()
		got := send(t, client, method, site.URL()+address, body)
		require.Equal(t, http.StatusOK, got.status, got.body)
		require.True(t, got.byWordPress(), "%s went to %d %.200s", address, got.status, got.body)
		require.False(t, got.bySpillway())
		require.Contains(t, got.body, "WordPress saw")
	}
	keep(http.MethodGet, "/?wpf_action=add&contact_id=1&"+keyed, "")
	keep(http.MethodPost, "/?wpf_action=add&"+keyed, `{"id":2}`)
	keep(http.MethodPost, "/index.php?contact_id=3&wpf_action=update&"+keyed, `{"first_name":"Ignored"}`)
	shown := func(id int) string {
		_, body := get(t.Context(), fmt.Sprintf("%s/api/v1/contacts/%d", s.admin, id))
		return body
	}
	lookedAt := func(id int) {
		t.Helper()
		require.Eventually(t, func() bool { return strings.Contains(shown(id), `"observed"`) }, 30*time.Second, 20*time.Millisecond, "contact %d was not looked at", id)
	}
	for id := 1; id <= 3; id++ {
		lookedAt(id)
	}
	_, report := get(t.Context(), s.admin+"/api/v1/observations")
	require.Contains(t, report, `"outcomes":{"created":2,"skipped":1}`)
	_, page := get(t.Context(), s.admin+"/")
	require.Contains(t, page, "writes nothing")
	require.Equal(t, before, s.site.PHP(`echo count_users()['total_users'];`), "nothing is written")

	// Whoever asks Spillway itself is told that nothing was done.
	status, body := s.ask(t, "add", 1, "wait", "20")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"status":"observed"`)
	require.Contains(t, body, `"outcome":"created"`)

	// Everything else is not copied, and leads nowhere by itself.
	keep(http.MethodGet, "/?wpf_action=thrivecart&contact_id=77&"+keyed, "")
	got := send(t, client, http.MethodGet, site.URL()+"/.spillway-mirror?contact_id=77&"+keyed, "")
	require.False(t, got.bySpillway())
	keep(http.MethodGet, "/?wpf_action=update&contact_id=4&"+keyed, "")
	lookedAt(4)
	require.NotContains(t, shown(77), `"kind"`)

	s.ingest.stop(t)
	keep(http.MethodPost, "/?wpf_action=update&"+keyed, `{"id":1}`)
	hangUp(t, ingest)
	keep(http.MethodPost, "/?wpf_action=update&"+keyed, `{"id":1}`)
	logs, err := filepath.Glob(filepath.Join(f.logs, "*.log"))
	require.NoError(t, err)
	require.NotEmpty(t, logs)
	for _, path := range logs {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NotContains(t, string(text), accessKey, "%s holds the key", path)
	}
}
