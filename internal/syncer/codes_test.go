package syncer_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/pulse"
	"spillway/internal/relay"
	"spillway/internal/site"
	"spillway/internal/syncer"
)

const root = "../.."

// errorsPage reads the tables of docs/errors.md on passes: of codes and of
// notes.
func errorsPage(t *testing.T) (codes, notes string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs/errors.md"))
	require.NoError(t, err)
	codes, notes, ok := strings.Cut(string(text), "\n## What a note says")
	require.True(t, ok)
	notes, _, ok = strings.Cut(notes, "\n## What keeps Spillway out of the site")
	require.True(t, ok)
	return codes, notes
}

// documented reads the table of codes.
func documented(t *testing.T) map[string]syncer.Verdict {
	t.Helper()
	text, _ := errorsPage(t)
	verdicts := map[string]syncer.Verdict{"waits": syncer.Wait, "tried again": syncer.TryAgain, "parked": syncer.Park}
	table := map[string]syncer.Verdict{}
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.Contains(cells[1], "`") {
			continue
		}
		verdict, ok := verdicts[strings.TrimSpace(cells[2])]
		require.True(t, ok, line)
		for _, code := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[1], -1) {
			require.NotContains(t, table, code[1])
			table[code[1]] = verdict
		}
	}
	return table
}

func TestTheTableOfNotesExplainsWhatTheDashboardDoes(t *testing.T) {
	t.Parallel()
	_, table := errorsPage(t)
	notes := regexp.MustCompile("(?m)^\\| (`[^|]+`) \\|").FindAllStringSubmatch(table, -1)
	require.Greater(t, len(notes), 5)
	for _, row := range notes {
		for _, note := range regexp.MustCompile("`([a-z_]+)[:A-Z]*`").FindAllStringSubmatch(row[1], -1) {
			require.NotEqual(t, note[1], contact.ExplainNote(note[1]))
		}
	}
}

// permanentCodes reads from the connector's protocol which of its codes are for
// good.
func permanentCodes(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy/wordpress/spillway-connector/PROTOCOL.md"))
	require.NoError(t, err)
	var codes []string
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || strings.TrimSpace(cells[2]) != "yes" {
			continue
		}
		for _, code := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[1], -1) {
			codes = append(codes, code[1])
		}
	}
	require.NotEmpty(t, codes)
	return codes
}

// literalCodes finds the codes that a package writes out.
func literalCodes(t *testing.T, folder string, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	require.NoError(t, err)
	var codes []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			codes = append(codes, found[1])
		}
	}
	require.NotEmpty(t, codes)
	return codes
}

// The table of errors has each code that a pass can fail with, and what becomes
// of its contact then, and no other code.
func TestTheTableOfErrorsIsWhatHappens(t *testing.T) {
	t.Parallel()
	table, raised := documented(t), map[string]bool{}
	requireListed := func(code string, verdict syncer.Verdict) {
		listed, ok := table[code]
		require.True(t, ok, "%s has no entry in the table", code)
		require.Equal(t, listed, verdict, code)
		raised[code] = true
	}
	for _, codes := range [][]string{
		permanentCodes(t),
		literalCodes(t, "internal/pulse", `refusal\{code: "([a-z_]+)"`),
		literalCodes(t, "internal/syncer", `CodeCreationLimit = "([a-z_]+)"`),
		literalCodes(t, "internal/relay", `Refused\{\s*id, "([a-z_]+)"`),
		literalCodes(t, "internal/site", `(?:&Refused\{ContactID: [^,]+, Code: |codeFatal = )"([a-z_]+)"`),
	} {
		for _, code := range codes {
			requireListed(code, syncer.Park)
		}
	}
	for _, err := range []error{
		pulse.ErrNotFound, &pulse.Unavailable{}, &pulse.Rejected{}, &site.Unavailable{}, &site.Hindered{},
		&site.Refused{Code: "no_email"}, &site.Failed{Code: "database"}, &site.Failed{Code: "superseded"},
		contact.ErrInvalidID, context.DeadlineExceeded, &contact.Absent{}, &noLocks{},
		&relay.Unavailable{}, &relay.Hindered{Reason: relay.CodeCircle}, &relay.Hindered{Reason: "relay_key"}, &relay.Failed{}, &contact.Busy{},
	} {
		judgement := syncer.Judge(err, 0)
		requireListed(judgement.Code, judgement.Verdict)
	}
	last := syncer.Judge(&site.Failed{Code: "database"}, syncer.MaxAttempts-1)
	requireListed(last.Code, last.Verdict)
	for code := range table {
		require.Contains(t, raised, code, "nothing raises this code")
	}
}

// noLocks is the site's outage that has a name.
type noLocks struct{ site.Unavailable }

func (*noLocks) Code() string { return syncer.CodeNoLocks }
