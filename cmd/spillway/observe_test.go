package main

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/sandbox"
)

func TestObserveTellsWhatWouldBeDone(t *testing.T) {
	t.Parallel()
	environ, contacts, stand := here(t)
	environ = append(environ, "SPILLWAY_MODE=observe", "SPILLWAY_CREATION_LIMIT=1")
	code, out, _ := call(t, environ, "observe")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "Nothing has been observed.")
	worker(t, environ, stand)
	for id := 1; id <= 5; id++ {
		text := strconv.Itoa(id)
		email := "c" + text + "@example.com"
		stand.CRM.Put(text, map[string]any{"email": email, "first_name": "New"}, []int{7})
		if id <= 2 {
			stand.Site.CreateUser(sandbox.NewUser{Login: email, Email: email, Role: "subscriber", Password: "x", ContactID: text})
		}
		_, err := contacts.Resync(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: text}, contact.Intent{Action: contact.Add, Role: "administrator"})
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		stats, err := contacts.Stats(t.Context())
		return err == nil && stats.Pending+stats.Active+stats.Retrying == 0
	}, 90*time.Second, 20*time.Millisecond)
	require.Len(t, stand.Site.Users(), 2, "nobody is created")
	require.Empty(t, stand.Site.UsersByContact("1")[0].RawTags)

	code, out, _ = call(t, environ, "observe")
	require.Equal(t, exitOK, code)
	require.Regexp(t, `3 users would be created\n +2 users would be changed\n`, out)
	require.Regexp(t, `Fields of existing users that would change:\n +2 first_name +such as 1, 2\n`, out)
	require.Regexp(t, `5 role_not_allowed`, out)
	_, out, _ = call(t, environ, "observe", "report", "--json")
	require.InDelta(t, 5, decode(t, out)["contacts"], 0)
	_, out, _ = call(t, environ, "doctor")
	require.Contains(t, out, "observe: nothing is written")
	code, _, errOut := call(t, environ, "reconcile", "--repair")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errOut, "SPILLWAY_MODE=connector")

	code, _, _ = call(t, environ, "observe", "reset")
	require.Equal(t, exitOK, code)
	_, out, _ = call(t, environ, "observe")
	require.Contains(t, out, "Nothing has been observed.")
}
