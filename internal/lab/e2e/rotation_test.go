package e2e

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/certtest"
	"spillway/internal/lab/redistest"
)

// A key and a certificate are replaced while webhooks arrive, and none is
// refused for it.
func TestKeysAndCertificateAreReplacedWithoutARestart(t *testing.T) {
	t.Parallel()
	authority := certtest.NewAuthority(t, "an authority")
	_, certFile, certKeyFile := authority.Files(t, "old.example")
	keyFile := filepath.Join(t.TempDir(), "keys")
	write := func(path, text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	write(keyFile, "the-first-key\n") // as editors leave it, with a line break
	webhooks, admin := freeAddr(t), freeAddr(t)
	ingest := launch(t, "ingest", map[string]string{
		"SPILLWAY_REDIS_URL": redistest.Start(t).URL(), "SPILLWAY_ACCESS_KEYS_FILE": keyFile,
		"SPILLWAY_TLS_CERT_FILE": certFile, "SPILLWAY_TLS_KEY_FILE": certKeyFile,
		"SPILLWAY_INGEST_ADDR": webhooks, "SPILLWAY_ADMIN_ADDR": admin,
	})
	require.Eventually(t, func() bool {
		status, _ := get(t.Context(), "http://"+admin+"/readyz")
		return status == http.StatusOK
	}, 60*time.Second, 20*time.Millisecond)

	answered := func(host, accessKey string) int {
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: authority.Pool(), ServerName: host},
		}}
		response, err := client.Get("https://" + webhooks + "/?wpf_action=test&access_key=" + accessKey)
		if err != nil {
			return 0
		}
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}
	becomes := func(host, accessKey string, want int) {
		require.Eventually(t, func() bool { return answered(host, accessKey) == want }, 60*time.Second, 200*time.Millisecond)
	}
	require.Equal(t, http.StatusOK, answered("old.example", "the-first-key"))

	// Both keys count while one is being replaced.
	write(keyFile, "the-first-key,the-second-key")
	becomes("old.example", "the-second-key", http.StatusOK)
	require.Equal(t, http.StatusOK, answered("old.example", "the-first-key"))
	// SIGHUP takes a change up at once.
	write(keyFile, "the-second-key")
	require.NoError(t, ingest.cmd.Process.Signal(syscall.SIGHUP))
	becomes("old.example", "the-first-key", http.StatusForbidden)
	require.Equal(t, http.StatusOK, answered("old.example", "the-second-key"))

	// A broken file changes nothing.
	write(keyFile, "short")
	require.Eventually(t, func() bool { return strings.Contains(ingest.log.String(), "key 1 has fewer than 8 characters") }, 60*time.Second, 50*time.Millisecond)
	require.Equal(t, http.StatusOK, answered("old.example", "the-second-key"))
	require.Equal(t, 1, strings.Count(ingest.log.String(), `"level":"error"`))

	certificate, private := authority.Issue(t, "new.example")
	write(certFile, string(certificate))
	write(certKeyFile, string(private))
	becomes("new.example", "the-second-key", http.StatusOK)
	require.Zero(t, answered("old.example", "the-second-key"))
	require.NotContains(t, ingest.log.String(), "the-second-key")
	ingest.stop(t)
}
