package ingest_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/ingest"
	"spillway/internal/lab/certtest"
	"spillway/internal/lab/logtest"
)

func TestWebhooksArriveOverTLS(t *testing.T) {
	t.Parallel()

	authority := certtest.NewAuthority(t, "an authority")
	certificate := func(host string) *tls.Certificate {
		pair, err := tls.X509KeyPair(authority.Issue(t, host))
		require.NoError(t, err)
		return &pair
	}
	server := serving(t, ingest.Options{Certificate: certificate("old.example"), Log: zerolog.New(&logtest.Log{})}, ingest.Site{Pending: submit(accept)})
	address, _ := serve(t, server)
	dial := func(host string, most uint16) (*http.Response, error) {
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: authority.Pool(), ServerName: host, MaxVersion: most},
		}}
		return client.Get("https://" + address + query + "wpf_action=test")
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		response, err := dial("old.example", version)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
	_, err := dial("old.example", tls.VersionTLS11) //nolint:bodyclose // there is no answer
	require.Error(t, err)

	server.SetCertificate(certificate("new.example"))
	_, err = dial("old.example", 0) //nolint:bodyclose // there is no answer
	require.Error(t, err)
	response, err := dial("new.example", 0)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())

	// Plain HTTP is not answered as a webhook.
	response, err = http.Get("http://" + address + query + "wpf_action=test")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
}

func TestAHandshakeThatDoesNotComeIsCutOff(t *testing.T) {
	t.Parallel()

	authority := certtest.NewAuthority(t, "an authority")
	pair, err := tls.X509KeyPair(authority.Issue(t, "example.com"))
	require.NoError(t, err)
	address, _ := serve(t, serving(t, ingest.Options{Certificate: &pair, Log: zerolog.Nop()}, ingest.Site{Pending: submit(accept)}))
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.ReadAll(conn)
	require.NoError(t, err, "the server hangs up by itself")
}
