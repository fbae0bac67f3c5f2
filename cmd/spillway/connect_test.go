package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/operate/connect"
)

// connectTo runs the command with a code in the input.
func connectTo(t *testing.T, environ []string, code string, args ...string) (exit int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	exit = execute(t.Context(), append([]string{"connect", "-"}, args...), &console{out: &o, err: &e, in: strings.NewReader(code), environ: environ})
	return exit, o.String(), e.String()
}

func TestConnectTakesOnePaste(t *testing.T) {
	t.Parallel()
	stand, err := sandbox.Serve(sandbox.Options{CRM: sandbox.CRMOptions{Token: "a-token"}, Site: sandbox.SiteOptions{StartCost: -1}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	path := filepath.Join(t.TempDir(), "new.env")
	environ := []string{"SPILLWAY_REDIS_URL=" + redistest.Start(t).URL()}
	code := stand.Site.ConnectionCode()

	exit, out, errOut := connectTo(t, environ, code, "--env-file", path, "--dry-run")
	require.Equal(t, exitOK, exit, "%s%s", out, errOut)
	require.Contains(t, out, "SPILLWAY_SITE_URL="+stand.SiteURL)
	require.Contains(t, out, "SPILLWAY_SITE_APP_PASSWORD=********")
	require.NoFileExists(t, path)

	exit, out, errOut = connectTo(t, environ, code, "--env-file", path)
	require.Contains(t, []int{exitOK, exitFindings}, exit, "%s%s", out, errOut)
	require.Contains(t, out, "SPILLWAY_SITE_USER is let in", "the doctor")
	require.NotContains(t, out, "SPILLWAY_ACCESS_KEYS=")

	// The code is used up, and it was not worth a try: the file is there.
	exit, _, errOut = connectTo(t, environ, code, "--env-file", path)
	require.Equal(t, exitFailed, exit)
	require.Contains(t, errOut, "--replace")
	exit, _, errOut = connectTo(t, environ, code, "--env-file", path, "--replace")
	require.Equal(t, exitFailed, exit)
	require.Contains(t, errOut, "make another under Tools » Spillway")

	before, err := os.ReadFile(path)
	require.NoError(t, err)
	exit, out, _ = connectTo(t, environ, stand.Site.ConnectionCode(), "--env-file", path, "--replace", "--json")
	require.Contains(t, []int{exitOK, exitFindings}, exit)
	var result connected
	require.NoError(t, json.Unmarshal([]byte(out), &result), out)
	require.Equal(t, path, result.Path)
	require.NotNil(t, result.Doctor)
	for _, setting := range result.Settings {
		require.False(t, setting.Secret && setting.Value != "")
	}
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	key := func(content []byte) string {
		_, rest, _ := strings.Cut(string(content), "\nSPILLWAY_ACCESS_KEYS=")
		line, _, _ := strings.Cut(rest, "\n")
		return line
	}
	require.NotEmpty(t, key(before))
	require.Equal(t, key(before), key(after), "the CRM's webhooks carry it")
}

func TestConnectWritesASitesFileIntoTheFolder(t *testing.T) {
	t.Parallel()
	stand, err := sandbox.Serve(sandbox.Options{Site: sandbox.SiteOptions{StartCost: -1}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	folder := t.TempDir()
	environ := []string{"SPILLWAY_SITES=" + folder, "SPILLWAY_REDIS_URL=redis://127.0.0.1:1/0"}
	exit, _, errOut := connectTo(t, environ, stand.Site.ConnectionCode(), "--site", "../up")
	require.Equal(t, exitUsage, exit)
	require.Contains(t, errOut, "small letters")

	exit, out, errOut := connectTo(t, environ, stand.Site.ConnectionCode())
	require.Equal(t, exitFindings, exit, "there is no Redis: %s%s", out, errOut)
	require.FileExists(t, filepath.Join(folder, "127-0-0-1.env"))
	exit, _, _ = connectTo(t, environ, stand.Site.ConnectionCode(), "--site", "shop")
	require.Equal(t, exitFindings, exit)
	require.FileExists(t, filepath.Join(folder, "shop.env"))
}

// On an installed machine the services' settings are known, and their empty files
// are no settings.
func TestConnectFindsTheServicesSettings(t *testing.T) {
	t.Parallel()
	stand, err := sandbox.Serve(sandbox.Options{Site: sandbox.SiteOptions{StartCost: -1}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	folder := t.TempDir()
	server := redistest.Start(t)
	installed := installedIn(t, "SPILLWAY_REDIS_URL="+server.URL()+"\nSPILLWAY_SITES="+folder+"\n", map[string]string{"access_keys": "", "crm_token": "", "secret_key": ""})
	run := func(args ...string) (exit int, out string) {
		var o, e bytes.Buffer
		c := &console{out: &o, err: &e, in: strings.NewReader(stand.Site.ConnectionCode()), installed: installed}
		exit = execute(t.Context(), append([]string{"connect", "-", "--site", "shop"}, args...), c)
		return exit, o.String() + e.String()
	}
	exit, out := run()
	require.Contains(t, []int{exitOK, exitFindings}, exit, out)
	require.Contains(t, out, server.URL()+" answers", "the doctor asks the services' Redis")
	require.NotContains(t, out, "SPILLWAY_SITES=", "the services read the folder already")
	first, err := os.ReadFile(filepath.Join(folder, "shop.env"))
	require.NoError(t, err)
	require.Regexp(t, `(?m)^SPILLWAY_ACCESS_KEYS=\w{32}$`, string(first), "the services' file of keys is empty")
	exit, out = run("--replace")
	require.Contains(t, []int{exitOK, exitFindings}, exit, out)
	second, err := os.ReadFile(filepath.Join(folder, "shop.env"))
	require.NoError(t, err)
	key := regexp.MustCompile(`(?m)^SPILLWAY_ACCESS_KEYS=\w+$`)
	require.Equal(t, key.FindString(string(first)), key.FindString(string(second)), "the CRM's webhooks carry it")
}

func TestConnectSaysWhatIsWrongWithACode(t *testing.T) {
	t.Parallel()
	exit, _, errOut := connectTo(t, nil, "hello")
	require.Equal(t, exitUsage, exit)
	require.Contains(t, errOut, "Tools » Spillway")
	exit, _, errOut = call(t, nil, "connect", "spw1.x.y")
	require.Equal(t, exitUsage, exit)
	require.Contains(t, errOut, "not whole")
}

// A code has no password for the web server. It is in the environment, and later in
// the site's file.
func TestConnectReachesASiteBehindBasicAuthentication(t *testing.T) {
	t.Parallel()
	stand, err := sandbox.Serve(sandbox.Options{CRM: sandbox.CRMOptions{Token: "a-token"}, Site: sandbox.SiteOptions{StartCost: -1}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	behind, err := url.Parse(stand.SiteURL)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(behind)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "stage" || password != "s3cr@t" {
			w.Header().Set("WWW-Authenticate", `Basic realm="Staging"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.Header.Set("Authorization", r.Header.Get("X-Spillway-Authorization"))
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	code := func() string {
		made, err := connect.ParseCode(stand.Site.ConnectionCode())
		require.NoError(t, err)
		content := base64.RawURLEncoding.EncodeToString([]byte(`{"site":"` + server.URL + `","secret":"` + made.Secret + `"}`))
		digest := sha256.Sum256([]byte(content))
		return "spw1." + content + "." + hex.EncodeToString(digest[:4])
	}
	path := filepath.Join(t.TempDir(), "new.env")
	environ := []string{"SPILLWAY_REDIS_URL=redis://127.0.0.1:1/0"}
	exit, _, errOut := connectTo(t, environ, code(), "--env-file", path)
	require.Equal(t, exitFailed, exit)
	require.Contains(t, errOut, "SPILLWAY_SITE_URL=https://USER:PASSWORD@HOST in its environment")

	with := strings.Replace(server.URL, "http://", "http://stage:s3cr%40t@", 1)
	for _, environ := range [][]string{append(environ, "SPILLWAY_SITE_URL="+with), environ} {
		exit, out, errOut := connectTo(t, environ, code(), "--env-file", path, "--replace")
		require.Contains(t, []int{exitOK, exitFindings}, exit, "%s%s", out, errOut)
		require.Contains(t, out, "SPILLWAY_SITE_USER is let in", "the doctor")
		require.NotContains(t, out+errOut, "s3cr")
		written, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, string(written), "SPILLWAY_SITE_URL='"+with+"'\n")
	}
}

// A code that was wrapped comes in several lines.
func TestCodeIsReadToItsEndAtATerminal(t *testing.T) {
	t.Parallel()
	stand, err := sandbox.Serve(sandbox.Options{Site: sandbox.SiteOptions{StartCost: -1}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	code := stand.Site.ConnectionCode()
	for input, rest := range map[string]string{
		code[:20] + "\n" + code[20:50] + "\n" + code[50:] + "\nnext": "next", code: "", code[:50] + "\n\nnext": "next", "hello\nnext": "next",
	} {
		reader := bufio.NewReader(strings.NewReader(input))
		read, err := readLines(reader)
		if strings.Contains(input, code[50:]) {
			require.NoError(t, err)
			require.Equal(t, stand.SiteURL, read.Site)
		} else {
			require.Error(t, err)
		}
		left, err := io.ReadAll(reader)
		require.NoError(t, err)
		require.Equal(t, rest, string(left))
	}
}
