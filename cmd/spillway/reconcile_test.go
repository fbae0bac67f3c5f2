package main

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sandbox"
)

func TestReconcileTellsWhatDiffersAndRepairsIt(t *testing.T) {
	t.Parallel()
	environ, _, stand := here(t)
	user, password := stand.Site.Credentials()
	environ = append(environ, "SPILLWAY_SITE_URL="+stand.SiteURL, "SPILLWAY_SITE_USER="+user, "SPILLWAY_SITE_APP_PASSWORD="+password)
	users := map[int]int64{}
	for id := 1; id <= 30; id++ {
		text := strconv.Itoa(id)
		address := "c" + text + "@example.com"
		stand.CRM.Put(text, map[string]any{"email": address}, []int{7, 8})
		users[id] = stand.Site.CreateUser(sandbox.NewUser{Login: address, Email: address, Password: "x", ContactID: text})
		stand.Site.SetTags(users[id], "7", "8")
	}
	reconcile := func(more ...string) []string {
		return append([]string{"reconcile", "--grace", "100ms", "--folder", t.TempDir()}, more...)
	}
	code, out, errOut := call(t, environ, reconcile()...)
	require.Equal(t, exitOK, code, errOut)
	require.Contains(t, out, "Compared 2 tags of 30 contacts with 30 users of the site")
	require.Contains(t, out, "Nothing differs.")

	stand.Site.SetTags(users[3], "7")
	stand.Site.DeleteUser(users[4])
	code, out, errOut = call(t, environ, reconcile()...)
	require.Equal(t, exitFindings, code, errOut)
	require.Regexp(t, `The user lacks tags +1  3\n`, out)
	require.Regexp(t, `A tagged contact has no user +1  4\n`, out)
	require.Contains(t, out, "spillway reconcile --repair")

	code, out, errOut = call(t, environ, reconcile("--json", "--tags", "Tag 7")...)
	require.Equal(t, exitFindings, code, errOut)
	printed := decode(t, out)
	require.Equal(t, map[string]any{
		"tags_missing": 0.0, "tags_left_over": 0.0, "tags_mixed": 0.0, "without_user": 1.0, "contact_gone": 0.0, "two_users": 0.0,
	}, printed["differences"])
	require.Positive(t, printed["crm_calls"])

	worker(t, environ, stand)
	code, out, errOut = call(t, environ, reconcile("--repair")...)
	require.Equal(t, exitFindings, code, errOut)
	require.Contains(t, out, "1 contacts were synced; 0 of them are parked.")
	require.Contains(t, out, "add --yes-create-users")
	code, out, errOut = call(t, environ, reconcile("--repair", "--yes-create-users")...)
	require.Equal(t, exitOK, code, errOut)
	require.Contains(t, out, "Nothing differs any more.")
	require.Len(t, stand.Site.UsersByContact("4"), 1)
}
