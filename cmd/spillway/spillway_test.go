package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/pending"
	"spillway/internal/relay"
)

// call runs a command line and returns its exit code and what it printed.
func call(t *testing.T, environ []string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = execute(t.Context(), args, &console{out: &o, err: &e, environ: environ})
	return code, o.String(), e.String()
}

func TestExitCodesAndWhatIsSaid(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "none")
	relaying := []string{"SPILLWAY_MODE=relay", "SPILLWAY_ACCESS_KEYS=wpf-key-1", "SPILLWAY_SITE_URL=https://www.example.com"}
	for name, test := range map[string]struct {
		args    []string
		environ []string
		code    int
		says    string
	}{
		"help":                     {[]string{"--help"}, nil, exitOK, "3 the doctor found failures"},
		"help of a command":        {[]string{"resync", "--help"}, nil, exitOK, "--all-tagged"},
		"version flag":             {[]string{"--version"}, nil, exitOK, "spillway "},
		"nothing":                  {nil, nil, exitUsage, "expected one of"},
		"unknown command":          {[]string{"sing"}, nil, exitUsage, "unexpected argument sing"},
		"no contact id":            {[]string{"contact", "12x"}, nil, exitUsage, "positive whole number"},
		"no selection":             {[]string{"resync"}, nil, exitUsage, "say which contacts"},
		"two selections":           {[]string{"resync", "--all-tagged", "--file", "x"}, nil, exitUsage, "can't be used together"},
		"add without a yes":        {[]string{"resync", "--all-tagged", "--action", "add"}, nil, exitUsage, "--yes-create-users"},
		"a yes without add":        {[]string{"resync", "--all-tagged", "--yes-create-users"}, nil, exitUsage, "goes with --action add"},
		"users without a repair":   {[]string{"reconcile", "--yes-create-users"}, nil, exitUsage, "goes with --repair"},
		"no CRM to compare":        {[]string{"reconcile"}, nil, exitSettings, "SPILLWAY_CRM_URL and SPILLWAY_CRM_TOKEN"},
		"no site to compare":       {[]string{"reconcile"}, []string{"SPILLWAY_CRM_URL=https://crm.example.com", "SPILLWAY_CRM_TOKEN=x"}, exitSettings, "SPILLWAY_SITE_URL, SPILLWAY_SITE_USER"},
		"nothing to compare with":  {[]string{"reconcile"}, relaying, exitUsage, "in mode relay Spillway calls neither the CRM"},
		"nobody to ask":            {[]string{"resync", "--all-tagged"}, relaying, exitUsage, "spillway resync --file"},
		"a relay's header":         {[]string{"relay"}, relaying, exitOK, relay.Proof("wpf-key-1")},
		"no relay":                 {[]string{"relay"}, nil, exitUsage, "no site is in mode relay"},
		"unknown action":           {[]string{"sync", "1", "--action", "delete"}, nil, exitUsage, "must be one of"},
		"a list that is not there": {[]string{"resync", "--file", missing}, nil, exitUsage, "no such file"},
		"no CRM":                   {[]string{"resync", "--all-tagged"}, nil, exitSettings, "SPILLWAY_CRM_URL and SPILLWAY_CRM_TOKEN"},
		"drop all without a yes":   {[]string{"parked", "drop", "--all"}, nil, exitUsage, "--all --yes"},
		"too many stand-ins":       {[]string{"run", "--sites", "10"}, nil, exitUsage, "from 1 to 9"},
		"stand-ins and a CRM":      {[]string{"run", "--sites", "2"}, []string{"SPILLWAY_SITES=" + filepath.Dir(missing)}, exitFailed, "leave --sites out"},
		"help of several sites":    {[]string{"run", "--help"}, nil, exitOK, "--sites 2"},
		"drop a site without yes":  {[]string{"sites", "drop", "shop"}, nil, exitUsage, "--yes"},
		"retry nobody":             {[]string{"parked", "retry"}, nil, exitUsage, "--all"},
		"a wrong setting":          {[]string{"doctor"}, []string{"SPILLWAY_SITE_URL=htp://x"}, exitSettings, "use https://"},
		"a missing env file":       {[]string{"contact", "1", "--env-file", missing}, nil, exitFailed, "no such file"},
		"Redis is away":            {[]string{"contact", "1"}, []string{"SPILLWAY_REDIS_URL=redis://127.0.0.1:1/0"}, exitFailed, "connection refused"},
		"the doctor without Redis": {[]string{"doctor"}, []string{"SPILLWAY_REDIS_URL=redis://127.0.0.1:1/0"}, exitFindings, "1 failures"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, errOut := call(t, test.environ, test.args...)
			require.Equal(t, test.code, code, "%s%s", out, errOut)
			require.Contains(t, out+errOut, test.says)
		})
	}
}

// installation is a Redis without workers, and a CRM.
func here(t *testing.T) (environ []string, contacts *pending.Contacts, stand *sandbox.Running) {
	t.Helper()
	server := redistest.Start(t)
	stand, err := sandbox.Serve(sandbox.Options{CRM: sandbox.CRMOptions{Token: "a-token"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	return []string{
		"SPILLWAY_REDIS_URL=" + server.URL(), "SPILLWAY_CRM_URL=" + stand.CRMURL, "SPILLWAY_CRM_TOKEN=a-token", "SPILLWAY_CRM_RATE=1000",
	}, pending.New(server.Client(), pending.Options{}), stand
}

// decode reads the JSON that a command printed.
func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	var value map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &value), text)
	return value
}

func TestContactIsSyncedShownPausedAndResumed(t *testing.T) {
	t.Parallel()
	environ, contacts, _ := here(t)
	code, out, _ := call(t, environ, "contact", "17", "--json")
	require.Equal(t, exitOK, code)
	require.Equal(t, "idle", decode(t, out)["state"])

	code, out, _ = call(t, environ, "sync", "17", "18", "--action", "add", "--json")
	require.Equal(t, exitOK, code)
	require.Len(t, decode(t, out)["contacts"], 2)
	_, out, _ = call(t, environ, "contact", "17")
	require.Contains(t, out, "state        pending since")
	require.Contains(t, out, "to do        add (")

	code, _, errOut := call(t, environ, "sync", "17", "--wait", "--timeout", "200ms")
	require.Equal(t, exitFailed, code, "nobody works here")
	require.Contains(t, errOut, "the workers go on")

	for command, want := range map[string]bool{"pause": true, "resume": false} {
		code, out, _ = call(t, environ, command, "--json")
		require.Equal(t, exitOK, code)
		require.Equal(t, want, decode(t, out)["paused"])
		paused, err := contacts.Paused(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, paused)
	}
}

func TestResyncOfTaggedContactsAndOfAList(t *testing.T) {
	t.Parallel()
	environ, contacts, stand := here(t)
	for id, tags := range map[string][]int{"1": {7}, "2": {7, 8}, "3": {8}, "4": {}} {
		stand.CRM.Put(id, map[string]any{"email": id + "@example.com"}, tags)
	}
	folder := t.TempDir()
	list := filepath.Join(folder, "ids")
	require.NoError(t, os.WriteFile(list, []byte("4\n4\n"), 0o600))
	for _, test := range []struct {
		args   []string
		queued float64
	}{{[]string{"--tag", "Tag 7"}, 2}, {[]string{"--tag", "7", "--tag", "8"}, 3}, {[]string{"--all-tagged"}, 3}, {[]string{"--file", list}, 1}} {
		args := append([]string{"resync", "--no-wait", "--json", "--folder", folder}, test.args...)
		code, out, errOut := call(t, environ, args...)
		require.Equal(t, exitOK, code, errOut)
		result := decode(t, out)
		require.InDelta(t, test.queued, result["queued"], 0, "%v", test.args)
		require.Equal(t, true, result["finished"])
	}
	record, err := contacts.Lookup(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: "4"})
	require.NoError(t, err)
	require.Equal(t, contact.Update, record.Intent.Action)

	code, _, errOut := call(t, environ, "resync", "--tag", "nobody’s", "--folder", folder)
	require.Equal(t, exitFailed, code)
	require.Contains(t, errOut, "the CRM has no tag")
}

func TestParkedContactsAreListedRetriedAndDropped(t *testing.T) {
	t.Parallel()
	environ, contacts, _ := here(t)
	code, out, _ := call(t, environ, "parked")
	require.Equal(t, exitOK, code)
	require.Equal(t, "No contact is parked.\n", out)
	for _, args := range [][]string{{"parked", "retry", "5"}, {"parked", "drop", "5"}} {
		code, _, errOut := call(t, environ, args...)
		require.Equal(t, exitFailed, code)
		require.Contains(t, errOut, "not parked: [5]")
	}
	// A contact that waits is nobody's to drop.
	ref := contact.Ref{Site: contact.DefaultSite, ID: "5"}
	_, err := contacts.Resync(t.Context(), ref, contact.Intent{Action: contact.Update})
	require.NoError(t, err)
	code, _, _ = call(t, environ, "parked", "drop", "5")
	require.Equal(t, exitFailed, code)
	record, err := contacts.Lookup(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, pending.Pending, record.State)
}

// worker runs one against the stand-ins.
func worker(t *testing.T, environ []string, stand *sandbox.Running) {
	t.Helper()
	user, password := stand.Site.Credentials()
	settings, err := config.Load(config.Worker, nil, append([]string{
		"SPILLWAY_SITE_URL=" + stand.SiteURL, "SPILLWAY_SITE_USER=" + user, "SPILLWAY_SITE_APP_PASSWORD=" + password,
		"SPILLWAY_WORKER_ADDR=127.0.0.1:0",
	}, environ...))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- assembly.Worker(ctx, settings, zerolog.Nop()) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
}

func TestParkedContactIsSyncedOnceItsCauseIsMended(t *testing.T) {
	t.Parallel()
	environ, contacts, stand := here(t)
	worker(t, environ, stand)
	for _, id := range []string{"5", "6"} {
		stand.CRM.Put(id, map[string]any{"first_name": "Nobody"}, nil) // no address, so no user
		code, _, errOut := call(t, environ, "sync", id, "--action", "add", "--wait")
		require.Equal(t, exitFailed, code)
		require.Contains(t, errOut, "1 of 1 contacts are parked")
	}

	stand.CRM.Put("5", map[string]any{"email": "five@example.com"}, nil)
	code, out, errOut := call(t, environ, "parked", "retry", "5")
	require.Equal(t, exitOK, code, errOut)
	require.Equal(t, "1 contact woken.\n", out)
	ref := contact.Ref{Site: contact.DefaultSite, ID: "5"}
	require.Eventually(t, func() bool {
		record, err := contacts.Lookup(t.Context(), ref)
		return err == nil && record.State == pending.Idle
	}, 30*time.Second, 20*time.Millisecond)
	require.Len(t, stand.Site.UsersByContact("5"), 1)
	_, out, _ = call(t, environ, "contact", "5")
	require.Regexp(t, `(?m)^\S+ \S+ UTC  synced   add: created user \d+`, out)
	require.Contains(t, out, "  parked   add: ")

	code, out, _ = call(t, environ, "parked", "drop", "6")
	require.Equal(t, exitOK, code)
	require.Equal(t, "1 contact dropped.\n", out)
	_, out, _ = call(t, environ, "contact", "6")
	require.Regexp(t, `(?m)UTC  dropped  add \[by the operator\]$`, out)
}

func TestContactShowsTheWebhooksThatWait(t *testing.T) {
	t.Parallel()
	environ, contacts, _ := here(t)
	ref := contact.Ref{Site: contact.DefaultSite, ID: "7"}
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	_, err := contacts.Submit(t.Context(), ref, contact.Intent{Action: contact.UpdateTags}, contact.Receipt{At: when, Action: contact.UpdateTags, RequestID: "r-1"})
	require.NoError(t, err)
	_, err = contacts.Resync(t.Context(), ref, contact.Intent{Action: contact.Add})
	require.NoError(t, err)
	_, out, _ := call(t, environ, "contact", "7")
	require.Regexp(t, `(?m)^received     \S+ \S+ UTC  update_tags  request r-1\n {13}\S+ \S+ UTC  add          asked for by the operator$`, out)
}

func TestSetupCommands(t *testing.T) {
	t.Parallel()
	code, out, _ := call(t, nil, "env")
	require.Equal(t, exitOK, code)
	require.Equal(t, config.Example(), out)
	_, out, _ = call(t, nil, "env", "--json")
	require.Len(t, decode(t, out)["settings"], len(config.Names()))

	// What keys prints is what the settings take, and another each time.
	_, first, _ := call(t, nil, "keys")
	_, second, _ := call(t, nil, "keys")
	require.NotEqual(t, first, second)
	settings, err := config.Load(config.Operator, nil, strings.Split(strings.TrimSpace(first), "\n"))
	require.NoError(t, err)
	require.Len(t, settings.SecretKey, 32)
	require.Len(t, settings.AccessKeys, 1)

	path := filepath.Join(t.TempDir(), "plugin.zip")
	code, out, _ = call(t, nil, "plugin", "--output", path, "--json")
	require.Equal(t, exitOK, code)
	require.Equal(t, path, decode(t, out)["path"])
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "application/zip", http.DetectContentType(content))
	_, out, _ = call(t, nil, "plugin", "-o", "-")
	require.Equal(t, string(content), out)

	_, out, _ = call(t, nil, "version", "--json")
	require.Contains(t, decode(t, out), "protocol")
}

// completed asks bash what it would offer.
func completed(t *testing.T, words ...string) []string {
	t.Helper()
	_, script, _ := call(t, nil, "completion", "bash")
	quoted := "'" + strings.Join(words, "' '") + "'"
	program := script + "\nCOMP_WORDS=(" + quoted + "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _spillway; printf '%s\\n' \"${COMPREPLY[@]}\""
	out, err := exec.Command("bash", "-c", program).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.Fields(string(out))
}

func TestBashCompletes(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"resync", "resume"}, completed(t, "spillway", "res"))
	require.Equal(t, []string{"list", "retry", "drop"}, completed(t, "spillway", "parked", "")[:3])
	require.Equal(t, []string{"--all-tagged"}, completed(t, "spillway", "resync", "--all"))
	require.Equal(t, []string{"update_tags", "update", "add"}, completed(t, "spillway", "sync", "--action", ""))
	require.Equal(t, []string{"bash", "zsh", "fish"}, completed(t, "spillway", "completion", "")[:3])
}

func TestScriptsOfAllShellsNameAllCommands(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		code, script, _ := call(t, nil, "completion", shell)
		require.Equal(t, exitOK, code)
		for _, word := range []string{"doctor", "parked", "retry", "resync", "all-tagged", "update_tags"} {
			require.Contains(t, script, word, shell)
		}
	}
	code, _, _ := call(t, nil, "completion", "tcsh")
	require.Equal(t, exitUsage, code)
}
