package pulse_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/certtest"
	"spillway/internal/lab/linktest"
	"spillway/internal/lab/polltest"
	"spillway/internal/pulse"
)

func TestAKeptConnectionThatClosesFailsNoCall(t *testing.T) {
	t.Parallel()
	client, err := pulse.New(pulse.Options{URL: linktest.ServeOnce(t, says(200, `{"id":7,"email":"a@example.com"}`)), Tokens: pulse.Fixed(token)})
	require.NoError(t, err)
	for range 3 {
		_, err := client.Contact(t.Context(), "7")
		require.NoError(t, err)
		require.NoError(t, client.Update(t.Context(), "7", map[string]string{"password": "x"}))
		require.NoError(t, client.ApplyTags(t.Context(), "7", []string{"4"}))
	}
}

func TestASilentConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	authority := certtest.NewAuthority(t, "an authority")
	url, silence := linktest.Silent(t, authority.Serve(t, "127.0.0.1", says(200, `{"id":7,"email":"a@example.com"}`)))
	client, err := pulse.New(pulse.Options{URL: url, Tokens: pulse.Fixed(token), Roots: authority.Pool(), Timeout: time.Second})
	require.NoError(t, err)
	_, err = client.Contact(t.Context(), "7")
	require.NoError(t, err)
	silence()
	_, err = client.Contact(t.Context(), "7")
	requireOutage(t, err)
	polltest.Until(t, time.Minute, func() bool {
		_, err := client.Contact(t.Context(), "7")
		return err == nil
	}, "the CRM is reached over another connection")
}
