package sandbox_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sandbox"
)

func TestServeRunsBothUntilClosed(t *testing.T) {
	t.Parallel()
	running, err := sandbox.Serve(sandbox.Options{Site: sandbox.SiteOptions{StartCost: -1, PageCost: -1}})
	require.NoError(t, err)
	running.CRM.Seed(2)
	require.Equal(t, running.SiteURL, running.Site.URL())
	client := &served{T: t, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	client.url = running.CRMURL
	require.Equal(t, http.StatusOK, client.get("/api/v1/contacts/2").status)
	client.url = running.SiteURL
	require.Equal(t, http.StatusOK, client.get("/").status)

	// An answer that hangs does not hold up the end.
	require.NoError(t, running.Site.Inject(sandbox.Fault{Mode: sandbox.FaultHang}))
	ended := make(chan error, 1)
	go func() {
		_, err := client.try(t.Context(), http.MethodGet, "/", "", "")
		ended <- err
	}()
	require.Eventually(t, func() bool { return running.Site.Stats().Spoilt == 1 }, patience, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, running.Close(ctx))
	require.Error(t, <-ended)
	require.NoError(t, running.Close(ctx), "once more does nothing")
	_, err = client.try(t.Context(), http.MethodGet, "/", "", "")
	require.Error(t, err)
}

func TestServeSaysWhichAddressIsTaken(t *testing.T) {
	t.Parallel()
	first, err := sandbox.Serve(sandbox.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = first.Close(context.WithoutCancel(t.Context())) })
	_, err = sandbox.Serve(sandbox.Options{SiteAddr: strings.TrimPrefix(first.SiteURL, "http://")})
	require.ErrorContains(t, err, "starting the sandbox's site")
}
