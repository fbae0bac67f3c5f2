package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/wptest"
	"spillway/internal/relay"
)

func TestWebServersTakeTheWebhooksOver(t *testing.T) {
	t.Parallel()
	ingest := freeAddr(t)
	options := wptest.Options{Plugins: map[string]string{"sees-webhooks.php": seesWebhooks}}
	byNginx := nginx(t, ingest, &options)
	site := wptest.Start(t, options)
	byNginx.site = site.URL()
	byApache := apache(t, ingest, site)
	// Spillway reaches the site by Apache, which hands its password to PHP by
	// WordPress's own rules.
	s := startBefore(t, site, map[string]string{
		"SPILLWAY_INGEST_ADDR": ingest, "SPILLWAY_SITE_URL": byApache.site, "SPILLWAY_TRUSTED_PROXIES": "127.0.0.1",
	})
	fronts := []*front{byNginx, byApache}
	byAccessFile := accessFile(t, ingest, site)
	client := byAccessFile.client(t, "127.0.0.1")
	s.put(1, map[string]any{"email": email(1), "first_name": "First"}, 24)
	t.Run("Apache's .htaccess sends webhooks to Spillway", func(t *testing.T) { testAccessFile(t, byAccessFile, client) })

	for _, f := range append(fronts, byAccessFile) {
		t.Run(f.name+" leaves the requests of mode relay to WordPress, and no others", func(t *testing.T) { testRelayed(t, f) })
	}
	for i, f := range fronts {
		client := f.client(t, fmt.Sprintf("127.0.0.%d", 10+i))
		t.Run(f.name+", the site's own: webhooks go to Spillway", func(t *testing.T) { testTakesWebhooks(t, s, f, client) })
		t.Run(f.name+", the site's own: all else stays with WordPress", func(t *testing.T) { testLeavesTheRest(t, f, client) })
		t.Run(f.name+", Spillway's host: everything there is Spillway's", func(t *testing.T) { testOwnHost(t, s, client, 100+10*i) })
		t.Run(f.name+" passes bodies on as they are", func(t *testing.T) { testBodies(t, s, f, client, 100+10*i) })
		t.Run(f.name+" tells Spillway who has sent a webhook", func(t *testing.T) { testSenders(t, f, 20+10*i) })
		t.Run(f.name+" waits for an answer that waits", func(t *testing.T) { testHeldAnswer(t, s, f, client, 100+10*i) })
	}

	s.ingest.stop(t)
	t.Run("Apache's .htaccess: Spillway is down", func(t *testing.T) { testAccessFileDown(t, byAccessFile, client) })
	for i, f := range fronts {
		client := f.client(t, fmt.Sprintf("127.0.0.%d", 10+i))
		t.Run(f.name+": Spillway is down", func(t *testing.T) { testDown(t, f, client) })
	}
	hangUp(t, ingest)
	for i, f := range fronts {
		client := f.client(t, fmt.Sprintf("127.0.0.%d", 10+i))
		t.Run(f.name+": Spillway hangs up", func(t *testing.T) { testDown(t, f, client) })
		t.Run(f.name+": no log holds an access key", func(t *testing.T) { testLogs(t, f, site) })
	}
}

func testTakesWebhooks(t *testing.T, s *stack, f *front, client *http.Client) {
	t.Helper()
	s.put(1, map[string]any{"email": email(1), "first_name": f.name}, 24)
	for _, query := range forSpillway {
		got := send(t, client, http.MethodGet, f.site+"/?"+query, "")
		require.True(t, got.bySpillway(), "%s went to %d %.200s", query, got.status, got.body)
		require.Equal(t, http.StatusOK, got.status, "%s: %s", query, got.body)
		got = send(t, client, http.MethodPost, f.site+"/?"+query, `{"first_name":"Ignored"}`)
		require.Equal(t, http.StatusOK, got.status, "POST %s: %s", query, got.body)
	}
	for _, path := range []string{"/index.php", "/some/page/", "/wp-login.php", "/wp-content/plugins/wp-fusion/api.php", "/wp-admin/admin-ajax.php"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodHead} {
			got := send(t, client, method, f.site+path+"?"+forSpillway[1], "")
			require.True(t, got.bySpillway(), "%s %s went to %d %.200s", method, path, got.status, got.body)
			require.Equal(t, http.StatusOK, got.status, "%s %s: %s", method, path, got.body)
		}
	}
	got := send(t, client, http.MethodGet, f.site+"/?wpf_action=test&"+keyed, "")
	require.JSONEq(t, `{"success":true}`, got.body)
	s.settle(t, 1, "idle")
	require.Equal(t, f.name, s.user(t, 1).Meta["first_name"])

	// Before the redirect to https, too, but nothing else.
	got = send(t, client, http.MethodPost, f.redirects+"/?wpf_action=update&"+keyed, `{"id":1}`)
	require.Equal(t, http.StatusOK, got.status, got.body)
	got = send(t, unredirected(client), http.MethodGet, f.redirects+"/page", "")
	require.Equal(t, http.StatusMovedPermanently, got.status)
}

func testRelayed(t *testing.T, f *front) {
	t.Helper()
	client := f.client(t, "127.0.0.1")
	got := send(t, client, http.MethodPost, f.site+"/?"+forSpillway[1], "", "X-Spillway-Relay", relay.Proof(accessKey))
	require.True(t, got.byWordPress(), "it went to %d %.200s", got.status, got.body)
	for _, stranger := range []string{"1", "(?!)", relay.Proof("another key"), relay.Proof(accessKey) + "0"} {
		got = send(t, client, http.MethodPost, f.site+"/?"+forSpillway[1], "", "X-Spillway-Relay", stranger)
		require.True(t, got.bySpillway(), "%s: it went to %d %.200s", stranger, got.status, got.body)
		require.Equal(t, http.StatusLoopDetected, got.status, got.body)
		require.Contains(t, got.body, "relay_circle")
	}
}

func testLeavesTheRest(t *testing.T, f *front, client *http.Client) {
	t.Helper()
	for address, sees := range forWordPress {
		got := send(t, client, http.MethodGet, f.site+address, "")
		require.True(t, got.byWordPress(), "%s went to %d %.200s", address, got.status, got.body)
		if sees != nil {
			require.Equal(t, fmt.Sprint("WordPress saw ", sees), got.body, address)
		} else {
			require.NotContains(t, got.body, "WordPress saw", address)
		}
	}
	got := send(t, client, http.MethodGet, f.site+"/.spillway", "")
	require.Equal(t, http.StatusNotFound, got.status, got.body)

	// The limit that docs/deploy.md states: the servers do not look into bodies.
	got = send(t, client, http.MethodPost, f.site+"/", "wpf_action=update&contact_id=1&"+keyed, "Content-Type", "application/x-www-form-urlencoded")
	require.Equal(t, `WordPress saw "update"`, got.body)
}

func testOwnHost(t *testing.T, s *stack, client *http.Client, id int) {
	t.Helper()
	const host = "://spillway.example.com"
	s.put(id, map[string]any{"email": email(id), "first_name": "Own host"})
	form := fmt.Sprintf("wpf_action=add&contact_id=%d&%s", id, keyed)
	got := send(t, client, http.MethodPost, "https"+host+"/any/path", form, "Content-Type", "application/x-www-form-urlencoded")
	require.Equal(t, http.StatusOK, got.status, got.body)
	s.settle(t, id, "idle")
	require.Equal(t, "Own host", s.user(t, id).Meta["first_name"])
	for _, query := range forSpillway {
		got = send(t, client, http.MethodGet, "https"+host+"/?"+query, "")
		require.Equal(t, http.StatusOK, got.status, "%s: %s", query, got.body)
	}
	got = send(t, client, http.MethodGet, "https"+host+"/?wpf_action=thrivecart&contact_id=1&"+keyed, "")
	require.Equal(t, http.StatusBadRequest, got.status, got.body)

	// The probes of ingest are for those who run it.
	for _, path := range []string{"/healthz", "/readyz"} {
		got = send(t, client, http.MethodGet, "https"+host+path, "")
		require.Equal(t, http.StatusNotFound, got.status, got.body)
	}

	// An address with http:// is sent on with method and body.
	s.put(id+1, map[string]any{"email": email(id + 1), "first_name": "Redirected"})
	address := "http" + host + "/any/path?wpf_action=add&" + keyed
	got = send(t, unredirected(client), http.MethodPost, address, "")
	require.Equal(t, http.StatusPermanentRedirect, got.status)
	require.Equal(t, "https"+strings.TrimPrefix(address, "http"), got.header.Get("Location"))
	got = send(t, client, http.MethodPost, address, fmt.Sprintf(`{"id":%d}`, id+1))
	require.Equal(t, http.StatusOK, got.status, got.body)
	s.settle(t, id+1, "idle")
	require.Equal(t, "Redirected", s.user(t, id+1).Meta["first_name"])
}

func testBodies(t *testing.T, s *stack, f *front, client *http.Client, id int) {
	t.Helper()
	note := func(size int) string { return `"note":"` + strings.Repeat("x", size) + `"` }
	for i, body := range []string{
		fmt.Sprintf(`{"id":%d}`, id+2),
		// As much as ingest reads, with what it needs at the end.
		fmt.Sprintf(`{%s,"id":%d}`, note(1_000_000), id+3),
	} {
		s.put(id+2+i, map[string]any{"email": email(id + 2 + i), "first_name": "Body"})
		got := send(t, client, http.MethodPost, f.site+"/?wpf_action=add&"+keyed, body)
		require.Equal(t, http.StatusOK, got.status, got.body)
		s.settle(t, id+2+i, "idle")
		require.Equal(t, "Body", s.user(t, id+2+i).Meta["first_name"])
	}
	// More than it reads, of a webhook whose URL is complete.
	for _, address := range []string{f.site, "https://spillway.example.com"} {
		for _, size := range []int{2_000_000, 8_000_000} {
			got := send(t, client, http.MethodPost, address+"/?"+forSpillway[1], "{"+note(size)+"}")
			require.Equal(t, http.StatusOK, got.status, "%d bytes to %s: %s", size, address, got.body)
		}
	}
}

func testHeldAnswer(t *testing.T, s *stack, f *front, client *http.Client, id int) {
	t.Helper()
	s.put(id+9, map[string]any{"email": "slow-" + email(id+9)})
	got := send(t, client, http.MethodPost, fmt.Sprintf("%s/?wpf_action=add&wait=30&contact_id=%d&%s", f.site, id+9, keyed), "")
	require.Equal(t, http.StatusOK, got.status, got.body)
	require.Contains(t, got.body, `"status":"synced"`)
}

// testSenders uses up the wrong keys that one address may send: that shuts
// another one out if Spillway takes both for the proxy.
func testSenders(t *testing.T, f *front, from int) {
	t.Helper()
	guess := func(client *http.Client, i int) int {
		address := []string{f.site, "https://spillway.example.com"}[i%2]
		return send(t, client, http.MethodGet, address+"/?wpf_action=test&access_key=wrong-"+accessKey, "",
			// Anybody can write this; who has connected comes after it.
			"X-Forwarded-For", fmt.Sprintf("198.51.100.%d", i)).status
	}
	guesser, other := f.client(t, fmt.Sprintf("127.0.0.%d", from)), f.client(t, fmt.Sprintf("127.0.0.%d", from+1))
	for i := range 20 {
		require.Equal(t, http.StatusForbidden, guess(guesser, i))
	}
	require.Equal(t, http.StatusTooManyRequests, guess(guesser, 20))
	require.Equal(t, http.StatusForbidden, guess(other, 21))
}

func testDown(t *testing.T, f *front, client *http.Client) {
	t.Helper()
	for _, address := range []string{f.site, f.redirects, "https://spillway.example.com"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			got := send(t, client, method, address+"/?"+forSpillway[1], "", "Referer", address+"/?"+keyed)
			require.Equal(t, http.StatusServiceUnavailable, got.status, "%s %s: %s", method, address, got.body)
			require.Equal(t, "30", got.header.Get("Retry-After"))
			require.Equal(t, "application/json", got.header.Get("Content-Type"))
			require.Contains(t, got.body, `"unavailable"`)
		}
	}
	got := send(t, client, http.MethodGet, f.site+"/?wpf_action=thrivecart&"+keyed, "", "Referer", f.site+"/?"+keyed)
	require.Equal(t, `WordPress saw "thrivecart"`, got.body, "the site goes on")
}

func testAccessFile(t *testing.T, f *front, client *http.Client) {
	t.Helper()
	for _, query := range forSpillway {
		got := send(t, client, http.MethodPost, f.site+"/wp-content/plugins/wp-fusion/api.php?"+query, `{"first_name":"Ignored"}`)
		require.True(t, got.bySpillway(), "%s went to %d %.200s", query, got.status, got.body)
		require.Equal(t, http.StatusOK, got.status, "%s: %s", query, got.body)
	}
	testLeavesTheRest(t, f, client)
}

func testAccessFileDown(t *testing.T, f *front, client *http.Client) {
	t.Helper()
	got := send(t, client, http.MethodPost, f.site+"/?"+forSpillway[1], "")
	require.Equal(t, http.StatusServiceUnavailable, got.status, got.body)
	require.Equal(t, "30", got.header.Get("Retry-After"))
	require.Contains(t, got.body, "Send it again")
	got = send(t, client, http.MethodGet, f.site+"/?page_id=2", "")
	require.True(t, got.byWordPress(), got.body)
	require.Empty(t, got.header.Get("Retry-After"))
}

// hangUp takes ingest's place and ends every connection at once, as an ingest
// that is killed ends those that it has.
func hangUp(t *testing.T, addr string) {
	t.Helper()
	var listener net.Listener
	require.Eventually(t, func() bool {
		var err error
		listener, err = net.Listen("tcp", addr)
		return err == nil
	}, 30*time.Second, 20*time.Millisecond, "%s is taken", addr)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_ = connection.Close()
		}
	}()
}

func testLogs(t *testing.T, f *front, site *wptest.Site) {
	t.Helper()
	for _, request := range broken {
		connection, err := net.Dial("tcp", strings.TrimPrefix(f.site, "http://"))
		require.NoError(t, err)
		_, err = fmt.Fprintf(connection, request, forSpillway[1])
		require.NoError(t, err)
		require.NoError(t, connection.(*net.TCPConn).CloseWrite())
		require.NoError(t, connection.SetDeadline(time.Now().Add(30*time.Second)))
		_, err = io.Copy(io.Discard, connection)
		require.NoError(t, err)
		require.NoError(t, connection.Close())
	}
	logs, err := filepath.Glob(filepath.Join(f.logs, "*.log"))
	require.NoError(t, err)
	outputs, err := filepath.Glob(filepath.Join(site.Dir(), "*.log"))
	require.NoError(t, err)
	texts := make(map[string]string)
	for _, path := range append(logs, outputs...) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for line := range bytes.Lines(text) {
			require.NotContains(t, string(line), accessKey, "%s holds the key", path)
		}
		texts[filepath.Base(path)] = string(text)
	}
	require.Contains(t, texts["access.log"], "left out]")
	require.Contains(t, texts["access.log"], "GET /?WPF_ACTION=update")
	require.Contains(t, texts["spillway.log"], " POST webhook 200 ")
	require.Contains(t, texts["spillway.log"], " GET webhook 503 ")
}
