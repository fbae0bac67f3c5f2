package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/site/wptest"
)

// seesWebhooks answers in WP Fusion's place, so that a request that reaches
// WordPress shows itself.
const seesWebhooks = `<?php
add_action( 'init', function () {
	if ( isset( $_REQUEST['wpf_action'] ) ) {
		echo 'WordPress saw ' . $_REQUEST['wpf_action'];
		exit;
	}
} );`

// nginxFiles copies deploy/nginx to a folder of the test, with this test's
// addresses and paths in place of those that an administrator replaces.
func nginxFiles(t *testing.T, ingest, tlsHost string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	// Its parents keep others out; nginx runs as www-data when the test is root.
	for parent := dir; parent != os.TempDir(); parent = filepath.Dir(parent) {
		require.NoError(t, os.Chmod(parent, 0o755))
	}
	certificate, key := selfSigned(t, dir)
	replace := strings.NewReplacer(
		"127.0.0.1:8080", ingest,
		"snippets/", dir+"/",
		"/var/log/nginx/", dir+"/log/",
		"listen 443 ssl", "listen "+tlsHost+" ssl",
		"/etc/letsencrypt/live/spillway.example.com/fullchain.pem", certificate,
		"/etc/letsencrypt/live/spillway.example.com/privkey.pem", key,
	)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "log"), 0o700))
	require.NoError(t, os.Chmod(filepath.Join(dir, "log"), 0o777))
	shipped, err := filepath.Glob("../../deploy/nginx/*.conf")
	require.NoError(t, err)
	require.NotEmpty(t, shipped)
	for _, file := range shipped {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(replace.Replace(string(text))), 0o644))
	}
	return dir
}

func selfSigned(t *testing.T, dir string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"spillway.example.com"}, NotAfter: time.Now().Add(time.Hour)}
	public, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	certificate, key = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: public}, key: {Type: "PRIVATE KEY", Bytes: encoded}} {
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o644))
	}
	return certificate, key
}

// ask sends a request and returns the status, the header and the body.
func ask(t *testing.T, client *http.Client, method, address, form string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form))
	require.NoError(t, err)
	if form != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header, string(body)
}

func TestNginxTakesTheWebhooksOver(t *testing.T) {
	t.Parallel()
	ingest, tlsHost := freeAddr(t), freeAddr(t)
	files := nginxFiles(t, ingest, tlsHost)
	s := startOn(t, wptest.Options{
		Plugins: map[string]string{"sees-webhooks.php": seesWebhooks},
		NginxHTTP: "include " + files + "/spillway-http.conf;\n" +
			"access_log " + files + "/log/access.log masked;\n" +
			"include " + files + "/spillway-host.conf;",
		NginxServer: "access_log " + files + "/log/access.log masked;\ninclude " + files + "/spillway-takeover.conf;",
	}, map[string]string{"SPILLWAY_INGEST_ADDR": ingest})
	host := "https://" + tlsHost
	secure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	t.Cleanup(secure.CloseIdleConnections)
	plain := &http.Client{}
	t.Cleanup(plain.CloseIdleConnections)
	query := "access_key=" + accessKey + "&contact_id=1&wpf_action="

	t.Run("without a change in the CRM, the site's nginx sends webhooks to Spillway and all else to WordPress", func(t *testing.T) {
		s.put(1, map[string]any{"email": email(1), "first_name": "First"}, 24)
		for _, action := range []string{"add", "Update", "UPDATE_TAGS", "update%5Ftags"} {
			for _, path := range []string{"/", "/index.php", "/some/page/", "/wp-login.php"} {
				for _, method := range []string{http.MethodGet, http.MethodPost} {
					status, _, body := ask(t, plain, method, s.site.URL()+path+"?"+query+action, "")
					require.Equal(t, http.StatusOK, status, "%s %s %s: %s", method, path, action, body)
				}
			}
		}
		status, _, body := ask(t, plain, http.MethodPost, s.site.URL()+"/?"+query+"update", "first_name=Ignored")
		require.Equal(t, http.StatusOK, status, body)
		status, _, body = ask(t, plain, http.MethodGet, s.site.URL()+"/?"+query+"test", "")
		require.Equal(t, http.StatusOK, status)
		require.JSONEq(t, `{"success":true}`, body)
		s.settle(t, 1, "idle")
		require.Equal(t, "First", s.user(t, 1).Meta["first_name"])

		for _, other := range []string{"thrivecart", "updates", "up%64ate", ""} {
			_, _, body = ask(t, plain, http.MethodGet, s.site.URL()+"/?"+query+other, "")
			require.True(t, strings.HasPrefix(body, "WordPress saw "), "%q went to %.200s", other, body)
		}
		_, _, body = ask(t, plain, http.MethodGet, s.site.URL()+"/?WPF_ACTION=update", "")
		require.Contains(t, body, "<html")
		_, _, body = ask(t, plain, http.MethodGet, s.site.URL()+"/?my_wpf_action=update&x=wpf_action=update", "")
		require.Contains(t, body, "<html")
		status, _, body = ask(t, plain, http.MethodGet, s.site.URL()+"/.spillway", "")
		require.Equal(t, http.StatusNotFound, status, body)

		// The limit that deploy/README.md states: nginx does not look into bodies.
		_, _, body = ask(t, plain, http.MethodPost, s.site.URL()+"/", query+"update")
		require.Equal(t, "WordPress saw update", body)
	})

	t.Run("with a host of its own, everything there is Spillway's", func(t *testing.T) {
		s.put(2, map[string]any{"email": email(2), "first_name": "Second"})
		form := url.Values{"wpf_action": {"add"}, "access_key": {accessKey}, "contact_id": {"2"}}.Encode()
		status, _, body := ask(t, secure, http.MethodPost, host+"/any/path", form)
		require.Equal(t, http.StatusOK, status, body)
		s.settle(t, 2, "idle")
		require.Equal(t, "Second", s.user(t, 2).Meta["first_name"])
		status, _, body = ask(t, secure, http.MethodGet, host+"/?"+query+"thrivecart", "")
		require.Equal(t, http.StatusBadRequest, status, body)
		status, _, body = ask(t, secure, http.MethodGet, host+"/?wpf_action=update&contact_id=1&access_key=wrong-"+accessKey, "")
		require.Equal(t, http.StatusForbidden, status, body)
	})

	t.Run("while Spillway is down the CRM is told so and WordPress sees nothing", func(t *testing.T) {
		s.ingest.stop(t)
		for client, address := range map[*http.Client]string{plain: s.site.URL(), secure: host} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				status, header, body := ask(t, client, method, address+"/?"+query+"update", "")
				require.Equal(t, http.StatusServiceUnavailable, status, body)
				require.Equal(t, "30", header.Get("Retry-After"))
				require.Contains(t, body, `"unavailable"`)
			}
		}
		status, _, _ := ask(t, plain, http.MethodGet, s.site.URL()+"/", "")
		require.Equal(t, http.StatusOK, status, "the site goes on")
	})

	t.Run("no log of nginx holds an access key", func(t *testing.T) {
		logs, err := filepath.Glob(filepath.Join(files, "log", "*"))
		require.NoError(t, err)
		require.Len(t, logs, 2)
		for _, path := range append(logs, filepath.Join(s.site.Dir(), "nginx.log")) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NotContains(t, string(text), accessKey, "%s holds the key", path)
		}
		text, err := os.ReadFile(filepath.Join(files, "log", "access.log"))
		require.NoError(t, err)
		require.Contains(t, string(text), "/?[access key left out]")
		require.Contains(t, string(text), "GET /?WPF_ACTION=update")
		text, err = os.ReadFile(filepath.Join(files, "log", "spillway.log"))
		require.NoError(t, err)
		require.Contains(t, string(text), " POST webhook 200 ")
		require.Contains(t, string(text), " GET webhook 503 ")
	})
}
