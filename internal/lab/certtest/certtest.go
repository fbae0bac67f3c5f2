// Package certtest makes private certificate authorities for tests of TLS.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Authority signs certificates. Only clients that are given its certificate trust
// it.
type Authority struct {
	PEM []byte // its own certificate

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes one that is valid for a day.
func NewAuthority(tb testing.TB, name string) *Authority {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(tb), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key := newKey(tb)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(tb, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(tb, err)
	return &Authority{PEM: block("CERTIFICATE", der), certificate: certificate, key: key}
}

// Issue returns a server's certificate and its private key in PEM, for one host
// name or address.
func (a *Authority) Issue(tb testing.TB, host string) (certificate, key []byte) {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(tb), Subject: pkix.Name{CommonName: host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	private := newKey(tb)
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &private.PublicKey, a.key)
	require.NoError(tb, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(tb, err)
	return block("CERTIFICATE", der), block("PRIVATE KEY", encoded)
}

// Pool holds the authority's certificate and no other.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// Serve answers by TLS at 127.0.0.1, with a certificate for a host, until the
// test ends. It returns the address to call.
func (a *Authority) Serve(tb testing.TB, host string, handler http.Handler) (url string) {
	tb.Helper()
	pair, err := tls.X509KeyPair(a.Issue(tb, host))
	require.NoError(tb, err)
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it reports the handshakes that fail
	server.EnableHTTP2 = true                           // as most servers do
	server.StartTLS()
	tb.Cleanup(server.Close)
	return server.URL
}

// Files writes what [Authority.Issue] returns and the authority's own
// certificate into a folder of the test.
func (a *Authority) Files(tb testing.TB, host string) (ca, certificate, key string) {
	tb.Helper()
	dir := tb.TempDir()
	ca, certificate, key = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	crt, private := a.Issue(tb, host)
	require.NoError(tb, os.WriteFile(ca, a.PEM, 0o600))
	require.NoError(tb, os.WriteFile(certificate, crt, 0o600))
	require.NoError(tb, os.WriteFile(key, private, 0o600))
	return ca, certificate, key
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	return key
}

func serial(tb testing.TB) *big.Int {
	tb.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(tb, err)
	return n
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
