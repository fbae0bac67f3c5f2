package pulse_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/certtest"
	"spillway/internal/pulse"
)

// The CRM's certificate is verified by the authority that was named, and a
// token goes to nobody else.
func TestTheCRMsCertificateIsVerified(t *testing.T) {
	t.Parallel()
	authority := certtest.NewAuthority(t, "an authority")
	answer := says(200, `{"id":7,"email":"a@example.com"}`)
	ask := func(url string, roots *x509.CertPool) error {
		client, err := pulse.New(pulse.Options{URL: url, Tokens: pulse.Fixed(token), Roots: roots, Timeout: 20 * time.Second})
		require.NoError(t, err)
		_, err = client.Contact(t.Context(), "7")
		return err
	}
	right := authority.Serve(t, "127.0.0.1", answer)
	require.NoError(t, ask(right, authority.Pool()))
	for name, c := range map[string]struct {
		url   string
		roots *x509.CertPool
		text  string
	}{
		"the system's authorities": {right, nil, "not trusted"},
		"another authority":        {right, certtest.NewAuthority(t, "another").Pool(), "SPILLWAY_CA"},
		"another host":             {authority.Serve(t, "other.example", answer), authority.Pool(), "the certificate is for another host"},
	} {
		err := ask(c.url, c.roots)
		requireOutage(t, err)
		require.ErrorContains(t, err, c.text, name)
	}
}
