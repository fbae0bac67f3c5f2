package ingest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/ingest"
	"spillway/internal/lab/logtest"
)

const tried = "/?wpf_action=test&access_key="

// from sends a request with a key from an address, perhaps through proxies.
func (b *bundle) from(address, forwarded, accessKey string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, tried+accessKey, nil)
	r.RemoteAddr = address
	if forwarded != "" {
		r.Header.Set("X-Forwarded-For", forwarded)
	}
	return b.do(r)
}

// exhaust fails until the address may fail no more, and returns after how many.
func (b *bundle) exhaust(t *testing.T, address, forwarded string) (failures int) {
	t.Helper()
	for b.from(address, forwarded, "wrong").Code == http.StatusForbidden {
		failures++
		require.Less(t, failures, 100, "an address may guess without end")
	}
	return failures
}

func behind(t *testing.T, proxies ...string) *bundle {
	t.Helper()
	b := &bundle{log: &logtest.Log{}, registry: prometheus.NewRegistry()}
	options := ingest.Options{Registerer: b.registry, Log: zerolog.New(b.log)}
	for _, proxy := range proxies {
		options.TrustedProxies = append(options.TrustedProxies, netip.MustParsePrefix(proxy))
	}
	b.server = serving(t, options, ingest.Site{Pending: submit(accept)})
	return b
}

func TestAnAddressMayGuessSomeTimesOnly(t *testing.T) {
	t.Parallel()

	b := setup(t, submit(accept))
	require.Equal(t, 20, b.exhaust(t, "198.51.100.7:1000", ""))
	w := b.from("198.51.100.7:1001", "", "wrong")
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Equal(t, "too_many_failures", code(t, w))
	wait, err := strconv.Atoi(w.Header().Get("Retry-After"))
	require.NoError(t, err)
	require.True(t, wait >= 1 && wait <= 6, wait)
	require.Equal(t, http.StatusTooManyRequests, b.from("198.51.100.7:1001", "", "").Code, "no key is a wrong key")

	require.Equal(t, http.StatusForbidden, b.from("198.51.100.8:1000", "", "wrong").Code, "another address may still fail")
	require.NoError(t, testutil.GatherAndCompare(b.registry, strings.NewReader(`
# HELP spillway_webhooks_received_total Webhooks by site (none: no key told it), action (none: of a refused one) and outcome: accepted, coalesced, test, or the code of the refusal.
# TYPE spillway_webhooks_received_total counter
spillway_webhooks_received_total{action="add",outcome="accepted",site="default"} 0
spillway_webhooks_received_total{action="add",outcome="coalesced",site="default"} 0
spillway_webhooks_received_total{action="none",outcome="invalid_access_key",site="default"} 21
spillway_webhooks_received_total{action="none",outcome="too_many_failures",site="default"} 3
spillway_webhooks_received_total{action="none",outcome="unavailable",site="default"} 0
spillway_webhooks_received_total{action="update",outcome="accepted",site="default"} 0
spillway_webhooks_received_total{action="update",outcome="coalesced",site="default"} 0
spillway_webhooks_received_total{action="update_tags",outcome="accepted",site="default"} 0
spillway_webhooks_received_total{action="update_tags",outcome="coalesced",site="default"} 0
`), "spillway_webhooks_received_total"))
}

// Whoever shares an address with the CRM, a proxy's for instance, must not be
// able to shut the CRM out.
func TestARightKeyIsNeverLimited(t *testing.T) {
	t.Parallel()

	b := setup(t, submit(accept))
	b.exhaust(t, "198.51.100.7:1000", "")
	for range 100 {
		require.Equal(t, http.StatusOK, b.from("198.51.100.7:1000", "", key).Code)
		require.Equal(t, http.StatusTooManyRequests, b.from("198.51.100.7:1000", "", "wrong").Code)
	}
}

func TestOneNetworkOfIPv6IsOneSender(t *testing.T) {
	t.Parallel()

	b := setup(t, submit(accept))
	for i := range 20 {
		require.Equal(t, http.StatusForbidden, b.from(fmt.Sprintf("[2001:db8:1:2::%x]:1000", i), "", "wrong").Code)
	}
	require.Equal(t, http.StatusTooManyRequests, b.from("[2001:db8:1:2:ffff::1]:1000", "", "wrong").Code)
	require.Equal(t, http.StatusForbidden, b.from("[2001:db8:1:3::1]:1000", "", "wrong").Code)

	require.Equal(t, 20, b.exhaust(t, "[::ffff:198.51.100.7]:1000", ""))
	require.Equal(t, http.StatusTooManyRequests, b.from("198.51.100.7:1000", "", "wrong").Code, "one address in two spellings")
}

func TestXForwardedForCountsBehindTrustedProxiesOnly(t *testing.T) {
	t.Parallel()

	t.Run("not without any", func(t *testing.T) {
		t.Parallel()
		b := behind(t)
		for i := range 20 {
			require.Equal(t, http.StatusForbidden, b.from("127.0.0.1:1", fmt.Sprintf("203.0.113.%d", i), "wrong").Code)
		}
		require.Equal(t, http.StatusTooManyRequests, b.from("127.0.0.1:1", "203.0.113.99", "wrong").Code)
	})
	t.Run("not from anybody else", func(t *testing.T) {
		t.Parallel()
		b := behind(t, "10.0.0.0/8")
		for i := range 20 {
			require.Equal(t, http.StatusForbidden, b.from("192.168.0.1:1", fmt.Sprintf("203.0.113.%d", i), "wrong").Code)
		}
		require.Equal(t, http.StatusTooManyRequests, b.from("192.168.0.1:1", "203.0.113.99", "wrong").Code)
	})
	t.Run("the nearest address that is no proxy's", func(t *testing.T) {
		t.Parallel()
		b := behind(t, "10.0.0.0/8", "2001:db8::1/128")
		require.Equal(t, 20, b.exhaust(t, "10.1.2.3:1", "203.0.113.1"))
		require.Equal(t, http.StatusForbidden, b.from("10.1.2.3:1", "203.0.113.2", "wrong").Code)
		// What a client writes in front of its own address changes nothing.
		require.Equal(t, http.StatusTooManyRequests, b.from("10.1.2.3:1", "198.51.100.9, 203.0.113.1", "wrong").Code)
		require.Equal(t, http.StatusTooManyRequests, b.from("10.9.9.9:1", "203.0.113.1, 10.1.2.3", "wrong").Code)
		require.Equal(t, http.StatusTooManyRequests, b.from("[2001:db8::1]:1", "203.0.113.1", "wrong").Code)
	})
	t.Run("with a port", func(t *testing.T) {
		t.Parallel()
		b := behind(t, "10.0.0.0/8")
		for i := range 20 {
			require.Equal(t, http.StatusForbidden, b.from("10.1.2.3:1", fmt.Sprintf("203.0.113.1:%d, 10.2.3.4:443", 5000+i), "wrong").Code)
			require.Equal(t, http.StatusForbidden, b.from("10.1.2.3:1", fmt.Sprintf("[2001:db8::%x]:443", i), "wrong").Code)
		}
		require.Equal(t, http.StatusTooManyRequests, b.from("10.1.2.3:1", "203.0.113.1", "wrong").Code)
		require.Equal(t, http.StatusTooManyRequests, b.from("10.1.2.3:1", "2001:db8::ffff", "wrong").Code)
		require.Equal(t, http.StatusForbidden, b.from("10.1.2.3:1", "203.0.113.2:5000", "wrong").Code)
	})
	t.Run("the proxy's own when the header is no list of addresses", func(t *testing.T) {
		t.Parallel()
		b := behind(t, "10.0.0.0/8")
		for i := range 20 {
			require.Equal(t, http.StatusForbidden, b.from("10.1.2.3:1", fmt.Sprintf("<script>%d", i), "wrong").Code)
		}
		require.Equal(t, http.StatusTooManyRequests, b.from("10.1.2.3:1", "unknown", "wrong").Code)
	})
}

// Memory is bounded: addresses that fail once each push each other out.
func TestManyAddressesAreForgotten(t *testing.T) {
	t.Parallel()

	b := setup(t, submit(accept))
	b.exhaust(t, "198.51.100.7:1000", "")
	for i := range 10_000 {
		b.from(fmt.Sprintf("10.%d.%d.1:1", i/250, i%250), "", "wrong")
	}
	require.Equal(t, http.StatusForbidden, b.from("198.51.100.7:1000", "", "wrong").Code)
}
