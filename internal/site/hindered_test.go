package site_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/site"
)

// What WordPress itself and plugins answer is tested on a real one, in
// plugintest; here is what stands in front of it, and what others answer.
func TestWhatStandsBeforeTheSiteIsNamed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/errors.md")
	require.NoError(t, err)
	_, documented, ok := strings.Cut(string(page), "# What keeps Spillway out of the site")
	require.True(t, ok)

	for name, test := range map[string]struct {
		status int
		header http.Header
		body   string
		code   string
		says   string
	}{
		"Cloudflare's challenge": {
			http.StatusForbidden,
			http.Header{"Cf-Mitigated": {"challenge"}},
			`<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>`, "challenge", "«Just a moment...»",
		},
		"SiteGround's captcha": {
			http.StatusAccepted,
			http.Header{"Sg-Captcha": {"challenge"}},
			`<html><head><meta http-equiv="refresh" content="0;/.well-known/sgcaptcha/?r=%2Fwp-json%2F"></head></html>`, "challenge", "status 202",
		},
		"a challenge that answers 200": {
			http.StatusOK, nil, `<html><head><title>Attention Required! | CDN</title></head></html>`, "challenge", "Attention Required",
		},
		"Basic authentication": {
			http.StatusUnauthorized,
			http.Header{"Www-Authenticate": {`Basic realm="Staging"`}},
			`<html><title>401 Authorization Required</title></html>`, "server_password", "USER:PASSWORD",
		},
		"a firewall's page":       {http.StatusForbidden, nil, `<html><title>Blocked &amp; logged</title></html>`, "refused_page", "«Blocked & logged»"},
		"a limit of the host":     {http.StatusTooManyRequests, http.Header{"Retry-After": {"7"}}, `<html><title>Slow down</title></html>`, "rate_limited", "«Slow down»"},
		"a 401 without any words": {http.StatusUnauthorized, nil, ``, "not_let_in", "SPILLWAY_SITE_APP_PASSWORD"},
		"an older connector":      {http.StatusForbidden, nil, `{"code":"rest_forbidden","message":"Sorry."}`, "no_right", "the role Spillway"},
		"no connector":            {http.StatusNotFound, nil, `{"code":"rest_no_route","message":"No route."}`, "no_plugin", "spillway plugin"},
		"no WordPress":            {http.StatusNotFound, nil, `<html><title>404 Not Found</title></html>`, "no_rest", "SPILLWAY_SITE_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for key, values := range test.header {
					w.Header()[key] = values
				}
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			}))
			t.Cleanup(server.Close)
			client, err := site.New(site.Options{URL: server.URL, User: "spillway", AppPassword: "s3cret"})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, client.Close(context.Background())) })

			_, asked := client.Status(t.Context())
			_, stored := client.Store(t.Context(), contact.Change{ContactID: "1", Action: "update"})
			for _, err := range []error{asked, stored} {
				var hindered *site.Hindered
				require.ErrorAs(t, err, &hindered)
				require.Equal(t, test.code, hindered.Code)
				require.Equal(t, test.status, hindered.Status)
				require.Contains(t, err.Error(), test.says)
				require.Contains(t, documented, "| `"+hindered.Code+"` |")
				outage, isOutage := contact.AsOutage(err)
				require.True(t, isOutage)
				require.Equal(t, test.code == "rate_limited", outage.Outage() == 7*time.Second)
			}
		})
	}
}

// A cache that keeps refusals would answer the old one after it was mended.
func TestNoCacheAnswersForTheStatus(t *testing.T) {
	t.Parallel()
	kept := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if kept[r.URL.String()] {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		kept[r.URL.String()] = true
		_, _ = w.Write([]byte(`{"plugin":"0.3.0","protocol":2}`))
	}))
	t.Cleanup(server.Close)
	client, err := site.New(site.Options{URL: server.URL, User: "spillway", AppPassword: "s3cret"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close(context.Background())) })
	for range 3 {
		_, err := client.Status(t.Context(), "first_name")
		require.NoError(t, err)
	}
}
