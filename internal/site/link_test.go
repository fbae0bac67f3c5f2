package site_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/certtest"
	"spillway/internal/lab/linktest"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/site"
)

func TestAContactIsNotBlamedForAKeptConnectionThatCloses(t *testing.T) {
	t.Parallel()
	stand := sandbox.NewSite(sandbox.SiteOptions{User: user, AppPassword: appPassword, ContactCost: -1})
	t.Cleanup(stand.Close)
	c := client(t, linktest.ServeOnce(t, stand), nil)
	for id := range 6 {
		_, err := c.Store(t.Context(), add(id+1))
		require.NoError(t, err)
	}
}

func TestASilentConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	authority := certtest.NewAuthority(t, "an authority")
	url, silence := linktest.Silent(t, authority.Serve(t, "127.0.0.1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("asked by %s", r.Proto)
		}
		_, _ = io.WriteString(w, `{"plugin":"1","protocol":1}`)
	})))
	c := client(t, url, func(o *site.Options) { o.Roots, o.Timeout = authority.Pool(), time.Second })
	_, err := c.Status(t.Context())
	require.NoError(t, err)
	silence()
	_, err = c.Status(t.Context())
	require.Error(t, err)
	polltest.Until(t, time.Minute, func() bool {
		_, err := c.Status(t.Context())
		return err == nil
	}, "the site is reached over another connection")
}
