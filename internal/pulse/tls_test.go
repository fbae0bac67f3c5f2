package pulse_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/pulse"
	"spillway/internal/redisconn/certtest"
)

// The CRM's certificate is verified by the authority that was named, and a
// token goes to nobody else.
func TestTheCRMsCertificateIsVerified(t *testing.T) {
	t.Parallel()
	authority := certtest.NewAuthority(t, "an authority")
	roots := func(a *certtest.Authority) *x509.CertPool {
		pool := x509.NewCertPool()
		require.True(t, pool.AppendCertsFromPEM(a.PEM))
		return pool
	}
	serve := func(host string) string {
		pair, err := tls.X509KeyPair(authority.Issue(t, host))
		require.NoError(t, err)
		server := httptest.NewUnstartedServer(says(200, `{"id":7,"email":"a@example.com"}`))
		server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // it reports the handshakes that fail
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.URL
	}
	ask := func(url string, roots *x509.CertPool) error {
		client, err := pulse.New(pulse.Options{URL: url, Tokens: pulse.Fixed(token), Roots: roots, Timeout: 20 * time.Second})
		require.NoError(t, err)
		_, err = client.Contact(t.Context(), "7")
		return err
	}
	right := serve("127.0.0.1")
	require.NoError(t, ask(right, roots(authority)))
	for name, c := range map[string]struct {
		url   string
		roots *x509.CertPool
		text  string
	}{
		"the system's authorities": {right, nil, "not trusted"},
		"another authority":        {right, roots(certtest.NewAuthority(t, "another")), "SPILLWAY_CA"},
		"another host":             {serve("other.example"), roots(authority), "the certificate is for another host"},
	} {
		err := ask(c.url, c.roots)
		requireOutage(t, err)
		require.ErrorContains(t, err, c.text, name)
	}
}
