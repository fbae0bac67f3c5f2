package config_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/config"
)

// -update writes docs/settings.md anew.
var update = flag.Bool("update", false, "write the table of docs/settings.md anew")

// What people read names every setting and none that does not exist.
func TestDocumentsNameTheSettingsThereAre(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	require.NoError(t, err)
	documents := map[string]bool{
		"README.md": false, "deploy/env.example": true, "deploy/compose.yaml": false,
		"deploy/systemd/spillway-ingest.service": false, "deploy/systemd/spillway-worker@.service": false,
	}
	for _, page := range pages {
		documents["docs/"+filepath.Base(page)] = filepath.Base(page) == "settings.md"
	}
	for document, complete := range documents {
		text, err := os.ReadFile(filepath.Join("..", "..", document))
		require.NoError(t, err)
		var named []string
		for _, match := range regexp.MustCompile(`SPILLWAY_([A-Z]+_)*[A-Z]+`).FindAllString(string(text), -1) {
			named = append(named, regexp.MustCompile(`_FILE$`).ReplaceAllString(match, ""))
		}
		slices.Sort(named)
		named = slices.Compact(named)
		if complete {
			require.Equal(t, config.Names(), named, document)
		} else {
			require.Subset(t, config.Names(), named, document)
		}
	}
}

// deploy/env.example is what `spillway env` prints; run that to renew it.
func TestTheExampleIsTheTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "env.example"))
	require.NoError(t, err)
	require.Equal(t, config.Example(), string(text), "run: go run ./cmd/spillway env > deploy/env.example")
	var names []string
	for _, entry := range config.Table() {
		names = append(names, entry.Name)
		require.NotEmpty(t, entry.Help, entry.Name)
		require.NotEmpty(t, entry.Group, entry.Name)
	}
	slices.Sort(names)
	require.Equal(t, config.Names(), names)
}

// inWords finds a default that is no value.
var inWords = regexp.MustCompile(` \(default: ([^)]+)\)`)

// settingsTable writes the table of settings as docs/settings.md has it.
func settingsTable() string {
	var text strings.Builder
	group := ""
	for _, entry := range config.Table() {
		if entry.Group != group {
			group = entry.Group
			fmt.Fprintf(&text, "\n### %s\n\n| variable | meaning | default |\n|---|---|---|\n", group)
		}
		name, value := "`"+entry.Name+"`", ""
		if entry.Secret {
			name += " *"
		}
		help := strings.ReplaceAll(entry.Help, "|", `\|`)
		if entry.Default != "" {
			// A long list may break after its commas.
			value = "`" + strings.ReplaceAll(entry.Default, ",", ",` `") + "`"
		} else if match := inWords.FindStringSubmatch(help); match != nil {
			help, value = strings.Replace(help, match[0], "", 1), match[1]
		}
		fmt.Fprintf(&text, "| %s | %s | %s |\n", name, help, value)
	}
	return text.String() + "\n"
}

func TestTheSettingsPageIsTheTable(t *testing.T) {
	t.Parallel()
	page := filepath.Join("..", "..", "docs", "settings.md")
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	head, rest, begun := strings.Cut(string(text), " -update` -->\n")
	table, tail, ended := strings.Cut(rest, "<!-- settings: end -->")
	require.True(t, begun && ended, "docs/settings.md has lost the marks of its table")
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(head+" -update` -->\n"+settingsTable()+"<!-- settings: end -->"+tail), 0o644))
		return
	}
	require.Equal(t, settingsTable(), table, "run: go test ./internal/config -run SettingsPage -update")
}

// A default that the table states is the one that is used.
func TestDefaultsOfTheTableChangeNothing(t *testing.T) {
	t.Parallel()
	before, err := config.Load(config.All, nil, complete())
	require.NoError(t, err)
	stated := 0
	for _, entry := range config.Table() {
		if entry.Default == "" {
			continue
		}
		stated++
		after, err := config.Load(config.All, nil, complete(entry.Name+"="+entry.Default))
		require.NoError(t, err, entry.Name)
		after.RedisGiven = false
		require.Equal(t, fields(before), fields(after), entry.Name)
	}
	require.Greater(t, stated, 10)
}

// An operator's command needs nothing, and refuses what is wrong all the same.
func TestOperatorNeedsNothing(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Operator, nil, nil)
	require.NoError(t, err)
	require.Equal(t, "redis://127.0.0.1:6379/0", c.RedisURL)
	require.Empty(t, c.IngestAddr)
	c, err = config.Load(config.Operator, nil, []string{"SPILLWAY_CRM_URL=https://app.example.com", "SPILLWAY_CRM_TOKEN=t", "SPILLWAY_ADMIN_ADDR=:8081"})
	require.NoError(t, err)
	require.Equal(t, "t", c.CRM.Token)
	_, err = config.Load(config.Operator, nil, []string{"SPILLWAY_CRM_URL=htp://x", "SPILLWAY_PUBLIC_URL=http://hooks.example.com"})
	require.Equal(t, []string{
		`SPILLWAY_PUBLIC_URL "http://hooks.example.com": the access key would travel in plain text, use https://`,
		`SPILLWAY_CRM_URL "htp://x": unknown scheme, use https://`,
	}, problems(t, err))
}

// The example starts nothing as it is, and does once what is marked as needed
// and the secrets are filled in.
func TestTheExampleIsValid(t *testing.T) {
	t.Parallel()
	secrets := []string{"SPILLWAY_ACCESS_KEYS=abcdefgh12", "SPILLWAY_CRM_TOKEN=token", "SPILLWAY_SITE_APP_PASSWORD=password"}
	example := filepath.Join("..", "..", "deploy", "env.example")
	environ, err := config.WithEnvFile(secrets, example)
	require.NoError(t, err)
	_, err = config.Load(config.Worker, nil, environ)
	require.Len(t, problems(t, err), 3)

	text, err := os.ReadFile(example)
	require.NoError(t, err)
	filled := regexp.MustCompile(`(?m)(^# \(needed\) .*\n(?:# .*\n)*)#`).ReplaceAllString(string(text), "$1")
	edited := filepath.Join(t.TempDir(), "env")
	require.NoError(t, os.WriteFile(edited, []byte(strings.ReplaceAll(filled, "ACCOUNT", "account")), 0o600))
	environ, err = config.WithEnvFile(secrets, edited)
	require.NoError(t, err)
	c, err := config.Load(config.All, nil, environ)
	require.NoError(t, err)
	require.Equal(t, "https://app.account.thepulsespot.com", c.CRM.URL)
}
