package redisconn_test

import (
	"crypto/x509"
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/certtest"
	"spillway/internal/lab/redistest"
	"spillway/internal/redisconn"
)

// A password goes to no Redis whose certificate is not verified, by the
// authority that was named and for the host that was dialled.
func TestTheCertificateOfRedisIsVerified(t *testing.T) {
	t.Parallel()
	authority := certtest.NewAuthority(t, "an authority")
	ca, certificate, key := authority.Files(t, "127.0.0.1")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	require.NoError(t, taken.Close())
	redistest.Start(t, "--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", ca, "--tls-auth-clients", "no")

	ping := func(host string, roots *x509.CertPool) error {
		client, err := redisconn.Open("rediss://"+net.JoinHostPort(host, port)+"/0", redisconn.ForIngest, redisconn.WithRoots(roots))
		require.NoError(t, err)
		defer func() { require.NoError(t, client.Close()) }()
		return client.Ping(t.Context()).Err()
	}
	require.NoError(t, ping("127.0.0.1", authority.Pool()))
	require.ErrorContains(t, ping("localhost", authority.Pool()), "certificate is not valid for any names")
	require.ErrorContains(t, ping("127.0.0.1", certtest.NewAuthority(t, "another").Pool()), "unknown authority")
	require.ErrorContains(t, ping("127.0.0.1", nil), "unknown authority")
}
