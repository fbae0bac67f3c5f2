package site_test

import (
	"crypto/x509"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/certtest"
	"spillway/internal/site"
)

// The site's certificate is verified by the authority that was named, and the
// application password goes to nobody else.
func TestTheSitesCertificateIsVerified(t *testing.T) {
	t.Parallel()
	authority := certtest.NewAuthority(t, "an authority")
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"plugin":"1","protocol":1}`)
	})
	ask := func(url string, roots *x509.CertPool) error {
		c := client(t, url, func(o *site.Options) { o.Roots = roots })
		_, err := c.Status(t.Context())
		return err
	}
	right := authority.Serve(t, "127.0.0.1", answer)
	require.NoError(t, ask(right, authority.Pool()))
	for name, c := range map[string]struct {
		url   string
		roots *x509.CertPool
		text  string
	}{
		"the system's authorities": {right, nil, "signed by unknown authority"},
		"another authority":        {right, certtest.NewAuthority(t, "another").Pool(), "SPILLWAY_CA"},
		"another host":             {authority.Serve(t, "other.example", answer), authority.Pool(), "its certificate is not valid"},
	} {
		err := ask(c.url, c.roots)
		_, isOutage := contact.AsOutage(err)
		require.True(t, isOutage, name)
		require.ErrorContains(t, err, c.text, name)
	}
}

// A plugin that puts a contact's data into the connector's answer does not get
// it into an error.
func TestAnErrorShowsNoneOfTheContactsValues(t *testing.T) {
	t.Parallel()
	url := scripted(t, func(w http.ResponseWriter, ids []string) {
		answer(w, ids, `{"contact_id":%q,"outcome":"failed","error":{"code":"odd","message":"no room for Adalovelace of a@example.com, 1 Vip","permanent":true}}`)
	})
	change := add(1)
	change.Email, change.Fields = "a@example.com", map[string]any{"first_name": "Adalovelace", "n": "1", "tags": []string{"Vip"}}
	_, err := client(t, url, nil).Store(t.Context(), change)
	require.ErrorContains(t, err, "no room for (value) of (value), 1 (value)")
}
