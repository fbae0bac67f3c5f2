package assembly

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
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

// connecting is a site that hands WP Fusion's settings over for a code.
type connecting struct {
	*httptest.Server

	crmURL  string
	dry     atomic.Int64 // exchanges that were tried
	real    atomic.Int64 // those that used the code up
	bring   atomic.Value // WP Fusion's secrets
	answers atomic.Value // another handler in its place
}

func startConnecting(t *testing.T, crmURL string) *connecting {
	t.Helper()
	c := &connecting{crmURL: crmURL}
	c.bring.Store(map[string]string{"access_key": "fusions-own-key", "pulsetech_token": "fusions-token"})
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if other, ok := c.answers.Load().(http.HandlerFunc); ok && other != nil {
			other(w, r)
			return
		}
		var sent struct {
			Secret string
			Dry    bool `json:"dry_run"`
		}
		if json.NewDecoder(r.Body).Decode(&sent) != nil || sent.Secret != "the-secret" || !strings.HasSuffix(r.URL.Path, "/spillway/v1/connect") {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"code":"spillway_connect_refused","message":"no"}`)
			return
		}
		password, secrets := "", map[string]string{}
		for name, value := range c.bring.Load().(map[string]string) {
			secrets[name] = value
			if sent.Dry {
				secrets[name] = strings.Repeat("*", len(value))
			}
		}
		if c.dry.Add(1); !sent.Dry {
			c.real.Add(1)
			password = "made for this"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"site": c.URL, "user": "spillway", "password": password, "wp_fusion": map[string]any{
			"version": "3.47", "contact_id_key": "pulsetech_contact_id", "tags_key": "pulsetech_tags", "secrets": secrets,
			"settings": map[string]any{"pulsetech_url": c.crmURL, "contact_fields": map[string]any{
				"user_email": map[string]any{"active": true, "type": "text", "crm_field": "email"},
			}},
		}})
	}))
	t.Cleanup(c.Close)
	return c
}

// code is one that names the site, or another address.
func (c *connecting) code(t *testing.T, address string) string {
	t.Helper()
	content, err := json.Marshal(map[string]string{"site": address, "secret": "the-secret"})
	require.NoError(t, err)
	text := base64.RawURLEncoding.EncodeToString(content)
	digest := sha256.Sum256([]byte(text))
	return "spw1." + text + "." + hex.EncodeToString(digest[:4])
}

// paste posts the form as a browser that is signed in does.
func (a *agency) paste(t *testing.T, signedIn, password, code string) (status int, page string) {
	t.Helper()
	form := url.Values{"code": {code}, "password": {password}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+a.admin+"/connect", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "text/html")
	if signedIn != "" {
		request.SetBasicAuth("admin", signedIn)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

func TestASiteIsConnectedAtTheDashboard(t *testing.T) {
	t.Parallel()
	a := newAgency(t)
	first := a.add(t, "first")
	a.start(t, "SPILLWAY_ADMIN_PASSWORD=the-admins")
	crm := httptest.NewServer(first.crm)
	t.Cleanup(crm.Close)
	wp := startConnecting(t, crm.URL)
	polltest.Until(t, 20*time.Second, func() bool { // whether they can seal is asked of the workers
		_, list := a.getAs(t, "the-admins", "http://"+a.admin+"/api/v1/replicas")
		return strings.Contains(list, "SPILLWAY_SECRET_KEY")
	}, "no worker reports")
	code := wp.code(t, wp.URL)

	status, page := a.paste(t, "", "the-admins", code)
	require.Equal(t, http.StatusUnauthorized, status, page)
	status, page = a.paste(t, "the-admins", "wrong", code)
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, page, "not the admin password")
	for pasted, says := range map[string]string{
		"hello": "no connection code", code[:len(code)-1] + "x": "not whole", wp.code(t, "http://example.com"): "plain text",
	} {
		status, page = a.paste(t, "the-admins", "the-admins", pasted)
		require.Equal(t, http.StatusUnprocessableEntity, status, pasted)
		require.Contains(t, page, says)
	}
	require.Zero(t, wp.dry.Load(), "nothing was called")

	// What answers is not followed elsewhere.
	wp.answers.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+a.admin+"/healthz", http.StatusTemporaryRedirect)
	}))
	status, page = a.paste(t, "the-admins", "the-admins", code)
	require.Equal(t, http.StatusUnprocessableEntity, status, page)
	wp.answers.Store(http.HandlerFunc(nil))

	// A code that brings too little is left for the command.
	wp.bring.Store(map[string]string{"access_key": "fusions-own-key"})
	_, page = a.paste(t, "the-admins", "the-admins", code)
	require.Contains(t, page, "SPILLWAY_CRM_TOKEN, which you have to add")
	require.Contains(t, page, `<code id="connect-command">spillway connect - --site 127-0-0-1</code>`)
	require.Zero(t, wp.real.Load(), "the code is still good")
	wp.bring.Store(map[string]string{"access_key": first.key, "pulsetech_token": "fusions-token"})

	// A key of another site would stop all of them at their next start.
	_, page = a.paste(t, "the-admins", "the-admins", code)
	require.Contains(t, page, "a key tells for which site a webhook is")
	path := filepath.Join(a.folder, "127-0-0-1.env")
	require.NoFileExists(t, path)

	wp.bring.Store(map[string]string{"access_key": "fusions-own-key", "pulsetech_token": "fusions-token"})
	status, page = a.paste(t, "the-admins", "the-admins", code)
	require.Equal(t, http.StatusOK, status, page)
	require.Contains(t, page, "The site 127-0-0-1 is connected.")
	require.Contains(t, page, "contact_fields")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	polltest.Until(t, 20*time.Second, func() bool {
		status, _, _ := a.get(t, "http://"+a.webhooks+"/?access_key=fusions-own-key&wpf_action=test")
		return status == http.StatusOK
	}, "ingest takes the file up without a restart")
	_, page = a.paste(t, "the-admins", "the-admins", code)
	require.Contains(t, page, "spillway connect - --site 127-0-0-1 --replace")
	for _, secret := range []string{"the-secret", "fusions-own-key", "fusions-token", "made for this", code} {
		require.NotContains(t, page, secret)
		require.NotContains(t, a.logs.String(), secret)
	}
	// Somebody with the password of one site does not get there.
	status, _ = a.getAs(t, "the-admins", "http://"+a.admin+"/connect?site=first")
	require.Equal(t, http.StatusNotFound, status)
}

func TestWhereIngestMayNotWriteTheDashboardNamesTheCommand(t *testing.T) {
	t.Parallel()
	a := newAgency(t)
	a.add(t, "first")
	a.start(t, "SPILLWAY_ADMIN_PASSWORD=the-admins")
	wp := startConnecting(t, "https://app.example.com")
	require.NoError(t, os.Rename(a.folder, a.folder+"-away")) // root may write wherever there is a folder
	_, page := a.paste(t, "the-admins", "the-admins", wp.code(t, wp.URL))
	require.Contains(t, page, "Ingest may read the settings of sites and not write them")
	require.Contains(t, page, `spillway connect - --site 127-0-0-1<`)
	require.Zero(t, wp.dry.Load(), "nothing was called")
}

func TestWithoutAPasswordTheDashboardTakesNoCode(t *testing.T) {
	t.Parallel()
	a := newAgency(t)
	a.add(t, "first")
	a.start(t)
	wp := startConnecting(t, "https://app.example.com")
	status, page := a.paste(t, "", "", wp.code(t, wp.URL))
	require.Equal(t, http.StatusForbidden, status, page)
	require.Zero(t, wp.dry.Load())
	_, _, page = a.get(t, "http://"+a.admin+"/connect")
	require.Contains(t, page, "spillway connect -")
	require.NotContains(t, page, "<textarea")
}

// getAs is get with the admin's password.
func (a *agency) getAs(t *testing.T, password, address string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	request.SetBasicAuth("admin", password)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(content)
}
