package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/assembly"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/sandbox"
)

// asSpillway makes the test's own program the command, in a process of its own.
const asSpillway = "TEST_AS_SPILLWAY"

func TestMain(m *testing.M) {
	if os.Getenv(asSpillway) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := assembly.Signals(context.Background())
	code := execute(ctx, os.Args[1:], &console{out: os.Stdout, err: os.Stderr, in: os.Stdin, environ: os.Environ()})
	stop()
	os.Exit(code)
}

func TestReconcileThatIsKilledGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	const contacts, tags = 240, 40 // a page for each tag
	environ, _, stand := here(t)
	user, password := stand.Site.Credentials()
	environ = append(environ, "SPILLWAY_SITE_URL="+stand.SiteURL, "SPILLWAY_SITE_USER="+user, "SPILLWAY_SITE_APP_PASSWORD="+password)
	for id := 1; id <= contacts; id++ {
		text, carried := strconv.Itoa(id), []int{1 + id%tags, 1 + (id+7)%tags}
		address := "c" + text + "@example.com"
		stand.CRM.Put(text, map[string]any{"email": address}, carried)
		made := stand.Site.CreateUser(sandbox.NewUser{Login: address, Email: address, Password: "x", ContactID: text})
		stand.Site.SetTags(made, strconv.Itoa(carried[0]), strconv.Itoa(carried[1]))
	}
	lost := stand.Site.UsersByContact("17")
	stand.Site.SetTags(lost[0].ID)
	folder := t.TempDir()
	args := []string{"reconcile", "--grace", "100ms", "--folder", folder}

	killed := exec.CommandContext(t.Context(), os.Args[0], args...)
	killed.Env = append(environ, asSpillway+"=1")
	stand.CRM.SetLatency(20 * time.Millisecond)
	require.NoError(t, killed.Start())
	polltest.Until(t, 30*time.Second, func() bool { // a third of the lists is read
		journals, _ := filepath.Glob(filepath.Join(folder, "*.journal"))
		if len(journals) != 1 {
			return false
		}
		text, err := os.ReadFile(journals[0])
		return err == nil && strings.Count(string(text), `"read":true`) >= tags/3
	}, "the comparison reads no tags")
	require.NoError(t, killed.Process.Kill())
	require.Error(t, killed.Wait())
	stand.CRM.SetLatency(0)
	before := stand.CRM.Stats().Calls

	code, out, errOut := call(t, environ, args...)
	require.Equal(t, exitFindings, code, "%s%s", out, errOut)
	require.Contains(t, out, "Going on with the comparison of")
	require.Regexp(t, `The user lacks tags +1  17\n`, out)
	after := stand.CRM.Stats().Calls
	require.Equal(t, before["all_tags"], after["all_tags"], "the killed one has read which tags there are")
	require.Less(t, after["tagged"]-before["tagged"], int64(tags)*4/5, "what it has read is not read again")
	require.GreaterOrEqual(t, after["tagged"], int64(tags))
}

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
	require.Contains(t, out, "tags differ with: spillway reconcile --repair\n")
	require.Contains(t, out, "spillway reconcile --repair --yes-create-users\n", "a plain repair makes no user")

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
	require.Contains(t, out, "1 contact synced, 0 of them parked.")
	require.Contains(t, out, "spillway reconcile --repair --yes-create-users")
	code, out, errOut = call(t, environ, reconcile("--repair", "--yes-create-users")...)
	require.Equal(t, exitOK, code, errOut)
	require.Contains(t, out, "Nothing differs any more.")
	require.Len(t, stand.Site.UsersByContact("4"), 1)
}
