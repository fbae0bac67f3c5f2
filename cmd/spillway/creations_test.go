package main

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/sandbox"
	"spillway/internal/pending"
)

// A global add by mistake: of ten contacts four are users already.
func TestCreationsBeyondTheLimitWaitForAPerson(t *testing.T) {
	t.Parallel()
	environ, contacts, stand := here(t)
	environ = append(environ, "SPILLWAY_CREATION_LIMIT=3")
	worker(t, environ, stand)
	const known, all = 4, 10
	for id := 1; id <= all; id++ {
		email := "c" + strconv.Itoa(id) + "@example.com"
		stand.CRM.Put(strconv.Itoa(id), map[string]any{"email": email, "first_name": "New"}, nil)
	}
	sync := func(from, to int, action contact.Action) {
		for id := from; id <= to; id++ {
			_, err := contacts.Resync(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(id)}, contact.Intent{Action: action})
			require.NoError(t, err)
		}
	}
	settled := func(parked int64) {
		t.Helper()
		require.Eventually(t, func() bool {
			stats, err := contacts.Stats(t.Context())
			return err == nil && stats.Pending+stats.Active+stats.Retrying == 0 && stats.Parked == parked
		}, 90*time.Second, 20*time.Millisecond)
	}
	for id := 1; id <= known; id++ {
		stand.Site.CreateUser(sandbox.NewUser{Login: "c" + strconv.Itoa(id), Email: "c" + strconv.Itoa(id) + "@example.com", Role: "subscriber", Password: "an old password"})
	}
	sync(1, all, contact.Add)
	settled(all - known - 3)
	users := 0
	for id := 1; id <= all; id++ {
		users += len(stand.Site.UsersByContact(strconv.Itoa(id)))
	}
	require.Equal(t, known+3, users, "existing users don't count and are stored")

	code, out, _ := call(t, environ, "creations", "--json")
	require.Equal(t, exitOK, code)
	require.InDelta(t, 3, decode(t, out)["created_last_hour"], 0)
	require.InDelta(t, 3, decode(t, out)["held"], 0)
	_, out, _ = call(t, environ, "parked", "--json")
	require.Contains(t, out, `"creation_limit"`)
	_, out, _ = call(t, environ, "doctor")
	require.Contains(t, out, "held back")

	code, _, _ = call(t, environ, "creations", "drop")
	require.Equal(t, exitUsage, code)
	code, out, errOut := call(t, environ, "creations", "allow")
	require.Equal(t, exitOK, code, errOut)
	require.Equal(t, "3 contacts allowed.\n", out)
	settled(0)
	for id := 1; id <= all; id++ {
		require.Len(t, stand.Site.UsersByContact(strconv.Itoa(id)), 1)
	}

	stand.CRM.Put("11", map[string]any{"email": "c11@example.com"}, nil)
	sync(11, 11, contact.Add)
	settled(1)
	code, out, _ = call(t, environ, "creations", "drop", "--yes")
	require.Equal(t, exitOK, code)
	require.Equal(t, "1 contact dropped.\n", out)
	record, err := contacts.Lookup(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: "11"})
	require.NoError(t, err)
	require.Equal(t, pending.Idle, record.State)
	require.Empty(t, stand.Site.UsersByContact("11"))
}
