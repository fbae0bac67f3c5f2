package assembly

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/polltest"
)

// A site in mode relay needs three settings. An add is answered with what WP
// Fusion says; and when the site's web server sends the relay's requests back to
// Spillway, contacts wait with a name for it until it does so no more.
func TestASiteInModeRelay(t *testing.T) {
	t.Parallel()
	a := newAgency(t)
	back := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: a.webhooks})
	var circle atomic.Bool
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if circle.Load() {
			back.ServeHTTP(w, r)
			return
		}
		_, _ = fmt.Fprintf(w, "<h3>Success</h3>User imported with ID 12. <br />Loaded meta:<pre>Array\n(\n    [user_registered] => %s\n    [role] => customer\n)\n</pre>",
			time.Now().UTC().Format(time.DateTime))
	}))
	t.Cleanup(site.Close)
	const key = "wp-fusions-own-key"
	text := "SPILLWAY_MODE=relay\nSPILLWAY_ACCESS_KEYS=" + key + "\nSPILLWAY_SITE_URL=" + site.URL + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(a.folder, "shop.env"), []byte(text), 0o600))
	a.sites["shop"] = &agencySite{key: key}
	a.start(t)

	status, body := a.call(t, "shop", "wpf_action=add&contact_id=7&role=customer&wait=20")
	require.Equal(t, http.StatusOK, status, body)
	require.JSONEq(t, `{"status":"synced","contact_id":"7","action":"add","outcome":"created","user_id":12,"role":"customer","password_returned":false,"notes":[]}`, body)

	circle.Store(true)
	_, body = a.call(t, "shop", "wpf_action=update&contact_id=8")
	require.Contains(t, body, `"queued"`)
	told := func(path, part string) func() bool {
		return func() bool {
			_, _, body := a.get(t, "http://"+a.admin+path)
			return strings.Contains(body, part)
		}
	}
	polltest.Until(t, 30*time.Second, told("/api/v1/contacts/8", "relay_circle"), "the circle has a name")
	circle.Store(false)
	polltest.Until(t, 60*time.Second, told("/api/v1/contacts/8", `"state":"idle"`), "the contact is synced after it")
	require.NotContains(t, a.logs.String(), key)
}
