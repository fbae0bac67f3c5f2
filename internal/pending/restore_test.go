package pending_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
)

// What docs/backup.md promises: a copy of the folder is enough.
func TestACopyOfTheAppendOnlyFileRestoresPendingContacts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendfsync", "always")
	rdb := server.Client()
	ref := contact.Ref{Site: contact.DefaultSite, ID: "7"}
	_, err := pending.New(rdb, pending.Options{}).Resync(t.Context(), ref, contact.Intent{Action: contact.Add, Role: "customer"})
	require.NoError(t, err)
	folder, err := rdb.ConfigGet(t.Context(), "dir").Result()
	require.NoError(t, err)
	backup := t.TempDir()
	require.NoError(t, os.CopyFS(backup, os.DirFS(folder["dir"])))
	server.Kill()

	// The last --dir counts: another machine's Redis, on the copy.
	restored := redistest.Start(t, "--dir", backup)
	record, err := pending.New(restored.Client(), pending.Options{}).Lookup(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, pending.Pending, record.State)
	require.Equal(t, contact.Add, record.Intent.Action)
	require.Equal(t, "customer", record.Intent.Role)
}
