package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/certtest"
	"spillway/internal/lab/polltest"
)

// send sends a webhook and returns the status.
func (s *light) send(t *testing.T, id int) int {
	t.Helper()
	status, _ := get(t.Context(), s.webhooks+"/?"+url.Values{
		"wpf_action": {"add"}, "access_key": {accessKey}, "contact_id": {strconv.Itoa(id)},
	}.Encode())
	return status
}

// A Redis without room refuses writes: webhooks are refused with it, workers
// wait, and whatever was accepted is done when there is room again.
func TestAFullRedisStrandsNothing(t *testing.T) {
	t.Parallel()
	s := startLight(t, lightOptions{})
	s.run(t)
	rdb := s.redis.Client()
	const contacts = 60
	for id := 1; id <= contacts; id++ {
		s.put(id, map[string]any{"email": email(id)})
	}
	s.crm.SetLatency(100 * time.Millisecond)
	var accepted []int
	for id := 1; id <= contacts/2; id++ {
		require.Equal(t, http.StatusOK, s.send(t, id))
		accepted = append(accepted, id)
	}
	// It fills up in the middle of the passes.
	require.NoError(t, rdb.ConfigSet(t.Context(), "maxmemory", "1mb").Err())
	refused := 0
	polltest.Until(t, 30*time.Second, func() bool {
		for id := contacts/2 + 1; id <= contacts; id++ {
			if s.send(t, id) == http.StatusServiceUnavailable {
				refused++
			} else {
				accepted = append(accepted, id)
			}
		}
		return refused > 10
	}, "a webhook is refused")
	s.crm.SetLatency(0)

	require.NoError(t, rdb.ConfigSet(t.Context(), "maxmemory", "0").Err())
	for id := contacts/2 + 1; id <= contacts; id++ {
		polltest.Until(t, 30*time.Second, func() bool { return s.send(t, id) == http.StatusOK }, "webhooks are taken again")
		accepted = append(accepted, id)
	}
	for _, id := range accepted {
		polltest.Until(t, 180*time.Second, func() bool {
			state, _ := s.state(t, id)
			return state == "idle"
		}, fmt.Sprintf("contact %d is stranded", id))
		require.Len(t, s.stand.UsersByContact(strconv.Itoa(id)), 1)
	}
	require.Zero(t, s.crm.Stats().Overlaps)
	require.NotContains(t, s.logs(), "example.org")
}

// A Redis that evicts loses acknowledged webhooks: nobody may send it any.
func TestAnEvictingRedisIsNotReady(t *testing.T) {
	t.Parallel()
	s := startLight(t, lightOptions{})
	s.run(t)
	rdb := s.redis.Client()
	require.NoError(t, rdb.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err())
	for _, url := range []string{s.admin + "/readyz", s.health + "/readyz"} {
		status, body := get(t.Context(), url)
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.JSONEq(t, `{"status":"unready","checks":{"redis":"its maxmemory-policy evicts keys, set it to noeviction"}}`, body)
	}
	require.NoError(t, rdb.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
	s.well(t)
}

// Everything that Spillway connects to speaks TLS with a private authority.
func TestTLSEverywhereWithAPrivateAuthority(t *testing.T) {
	t.Parallel()
	authority := certtest.NewAuthority(t, "an authority")
	ca, certificate, key := authority.Files(t, "127.0.0.1")
	pair, err := tls.LoadX509KeyPair(certificate, key)
	require.NoError(t, err)
	secure := freeAddr(t)
	_, port, err := net.SplitHostPort(secure)
	require.NoError(t, err)
	s := startLight(t, lightOptions{
		serve: func(h http.Handler) *httptest.Server {
			server := httptest.NewUnstartedServer(h)
			server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
			server.StartTLS()
			return server
		},
		redisArgs: []string{
			"--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", ca, "--tls-auth-clients", "no",
		},
		env: map[string]string{"SPILLWAY_REDIS_URL": "rediss://" + secure + "/0", "SPILLWAY_CA_FILE": ca},
	})
	require.True(t, strings.HasPrefix(s.env["SPILLWAY_CRM_URL"], "https://") && strings.HasPrefix(s.env["SPILLWAY_SITE_URL"], "https://"))
	s.put(1, map[string]any{"email": email(1)})
	s.run(t)
	s.webhook(t, "add", 1)
	s.settle(t, 1, "idle")
	require.NotEmpty(t, s.field(t, 1, "wp_password"))
	s.ingest.stop(t)
	s.worker.stop(t)

	// By another authority nothing is believed, and that is said.
	other, _, _ := certtest.NewAuthority(t, "another authority").Files(t, "127.0.0.1")
	s.env["SPILLWAY_CA_FILE"] = other
	s.ingest, s.worker = launch(t, "ingest", s.env), launch(t, "worker", s.env)
	for _, url := range []string{s.admin + "/readyz", s.health + "/readyz"} {
		require.Eventually(t, func() bool {
			status, body := get(t.Context(), url)
			return status == http.StatusServiceUnavailable && strings.Contains(body, "shows a certificate that is not trusted")
		}, 60*time.Second, 100*time.Millisecond, url)
	}
	require.Equal(t, http.StatusServiceUnavailable, s.send(t, 1))
}
