package config_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/config"
	"spillway/internal/lab/certtest"
)

func TestTrustedProxiesAreAddressesAndRanges(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Ingest, nil, complete("SPILLWAY_TRUSTED_PROXIES=127.0.0.1, 10.1.2.3/8,::1,2001:db8::/32,::ffff:192.0.2.1,::ffff:10.9.0.0/112"))
	require.NoError(t, err)
	var want []netip.Prefix
	for _, prefix := range []string{"127.0.0.1/32", "10.0.0.0/8", "::1/128", "2001:db8::/32", "192.0.2.1/32", "10.9.0.0/16"} {
		want = append(want, netip.MustParsePrefix(prefix))
	}
	require.Equal(t, want, c.TrustedProxies)
	require.Contains(t, c.String(), "SPILLWAY_TRUSTED_PROXIES=127.0.0.1/32 10.0.0.0/8")

	_, err = config.Load(config.Ingest, nil, complete("SPILLWAY_TRUSTED_PROXIES=proxy.example.com,10.0.0.0/33,0.0.0.0/0"))
	require.Equal(t, []string{
		`SPILLWAY_TRUSTED_PROXIES "proxy.example.com": write addresses or ranges such as 10.0.0.5 or 10.0.0.0/8, separated by commas`,
		`SPILLWAY_TRUSTED_PROXIES "10.0.0.0/33": write addresses or ranges such as 10.0.0.5 or 10.0.0.0/8, separated by commas`,
		`SPILLWAY_TRUSTED_PROXIES "0.0.0.0/0": trusts everybody, who could then pretend to be anyone; name the proxies' own addresses`,
	}, problems(t, err))
}

func TestACertificateNeedsItsKey(t *testing.T) {
	t.Parallel()
	authority := certtest.NewAuthority(t, "an authority")
	ca, certificate, key := authority.Files(t, "example.com")
	_, _, otherKey := authority.Files(t, "example.com")

	c, err := config.Load(config.Ingest, nil, complete("SPILLWAY_TLS_CERT_FILE="+certificate, "SPILLWAY_TLS_KEY_FILE="+key, "SPILLWAY_CA_FILE="+ca))
	require.NoError(t, err)
	require.Equal(t, "example.com", c.Certificate.Leaf.Subject.CommonName)
	require.NotNil(t, c.Roots)
	require.Equal(t, config.Files{TLSCert: certificate, TLSKey: key}, c.Files)
	require.NotContains(t, c.String(), "PRIVATE")

	for name, test := range map[string]struct {
		environ []string
		want    string
	}{
		"no key":        {[]string{"SPILLWAY_TLS_CERT_FILE=" + certificate}, "SPILLWAY_TLS_KEY is missing: it belongs to SPILLWAY_TLS_CERT; set it, or SPILLWAY_TLS_KEY_FILE, to the private key in PEM"},
		"another's key": {[]string{"SPILLWAY_TLS_CERT_FILE=" + certificate, "SPILLWAY_TLS_KEY_FILE=" + otherKey}, "SPILLWAY_TLS_CERT_FILE: not a certificate chain in PEM whose first certificate belongs to SPILLWAY_TLS_KEY, check both"},
		"swapped":       {[]string{"SPILLWAY_TLS_CERT_FILE=" + key, "SPILLWAY_TLS_KEY_FILE=" + certificate}, "SPILLWAY_TLS_CERT_FILE: not a certificate chain in PEM whose first certificate belongs to SPILLWAY_TLS_KEY, check both"},
		"no authority":  {[]string{"SPILLWAY_CA_FILE=" + key}, "SPILLWAY_CA_FILE: holds no certificate in PEM, set it, or SPILLWAY_CA_FILE, to your authority's"},
	} {
		_, err := config.Load(config.Ingest, nil, complete(test.environ...))
		require.Equal(t, []string{test.want}, problems(t, err), name)
	}
}

// What is read again passes the same checks, and only files are.
func TestFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys")
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	write("first-key\r\n")
	c, err := config.Load(config.Ingest, nil, []string{"SPILLWAY_ACCESS_KEYS_FILE=" + path})
	require.NoError(t, err)
	require.Equal(t, []string{"first-key"}, c.AccessKeys)
	write("first-key,second-key\n")
	keys, err := c.Files.ReadAccessKeys()
	require.NoError(t, err)
	require.Equal(t, []string{"first-key", "second-key"}, keys)
	for _, wrong := range []string{"", "short", "with space", "two\nlines"} {
		write(wrong)
		_, err = c.Files.ReadAccessKeys()
		require.Len(t, problems(t, err), 1)
		require.NotContains(t, err.Error(), "short\"")
	}
	require.NoError(t, os.Remove(path))
	_, err = c.Files.ReadAccessKeys()
	require.ErrorContains(t, err, "does not exist")

	c, err = config.Load(config.Ingest, nil, complete())
	require.NoError(t, err)
	require.Zero(t, c.Files, "the environment of a process does not change")
}
