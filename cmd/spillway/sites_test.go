package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
)

// A site without a file is listed as gone with what waits for it, and dropped; the
// others and what waits for them stay.
func TestSitesThatHaveGoneAreListedAndDropped(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb, folder := server.Client(), t.TempDir()
	environ := []string{"SPILLWAY_REDIS_URL=" + server.URL(), "SPILLWAY_SITES=" + folder}
	require.NoError(t, os.WriteFile(filepath.Join(folder, "shop.env"), []byte("SPILLWAY_ACCESS_KEYS=a-key-of-the-shop\n"), 0o600))
	for _, site := range []string{"shop", "blog"} {
		contacts := pending.New(rdb, pending.Options{Site: site})
		_, err := contacts.Submit(t.Context(), contact.Ref{Site: site, ID: "7"}, contact.Intent{Action: contact.Update}, contact.Receipt{})
		require.NoError(t, err)
		require.NoError(t, rdb.ZAdd(t.Context(), "spw:sites", redis.Z{Score: 1, Member: site}).Err())
	}
	code, out, errOut := call(t, environ, "sites")
	require.Equal(t, exitOK, code, errOut)
	require.Regexp(t, `(?m)^shop +1 outstanding, 0 parked, last webhook .* UTC$`, out)
	require.Regexp(t, `(?m)^blog +1 outstanding, 0 parked, .*spillway sites drop blog$`, out)
	_, out, _ = call(t, environ, "sites", "--json")
	list, _ := decode(t, out)["sites"].([]any)
	require.Len(t, list, 2)
	require.Equal(t, true, list[1].(map[string]any)["gone"])

	code, _, errOut = call(t, environ, "sites", "drop", "shop", "--yes")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errOut, "it has a file")
	code, out, errOut = call(t, environ, "sites", "drop", "blog", "--yes")
	require.Equal(t, exitOK, code, errOut)
	require.Contains(t, out, "blog is dropped")
	_, out, _ = call(t, environ, "sites")
	require.NotContains(t, out, "blog")
	require.Contains(t, out, "shop")
	require.Empty(t, rdb.Keys(t.Context(), "*blog*").Val())
}
