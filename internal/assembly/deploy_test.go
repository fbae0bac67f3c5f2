package assembly

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/config"
	"spillway/internal/sites"
)

const deployDir = "../../deploy"

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deployDir, path))
	require.NoError(t, err)
	return string(text)
}

// promtool runs Prometheus's own checker.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		const remedy = "promtool is not on the PATH: install Debian's package prometheus"
		if os.Getenv("CI") != "" {
			t.Fatal(remedy)
		}
		t.Skip(remedy)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	require.NoError(t, err, "promtool %s:\n%s", strings.Join(args, " "), out)
}

func TestAlertRulesFireWhenTheyShouldAndNotOtherwise(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "config", filepath.Join(deployDir, "prometheus", "prometheus.yml"))
	promtool(t, "test", "rules", filepath.Join(deployDir, "prometheus", "spillway.test.yml"), filepath.Join(deployDir, "prometheus", "silence.test.yml"),
		filepath.Join(deployDir, "prometheus", "installations.test.yml"))
}

func alerts(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, match := range regexp.MustCompile(`(?m)^ *- alert: (\w+)$`).FindAllStringSubmatch(read(t, "prometheus/spillway.rules.yml"), -1) {
		names = append(names, match[1])
	}
	require.NotEmpty(t, names)
	return names
}

func TestEveryAlertHasATestAndAParagraphInTheRunbook(t *testing.T) {
	t.Parallel()
	tests, runbook := read(t, "prometheus/spillway.test.yml")+read(t, "prometheus/silence.test.yml"), read(t, "../docs/runbook.md")
	for _, name := range alerts(t) {
		require.Regexp(t, `alertname: `+name+`\n +exp_alerts:`, tests, "no test makes %s fire", name)
		require.Contains(t, read(t, "prometheus/spillway.rules.yml"), "runbook_url: docs/runbook.md#"+strings.ToLower(name)+"\n")
		require.Regexp(t, `(?m)^### `+name+`\n\n(.|\n)*?\*\*Means\*\*(.|\n)*?\*\*Look\*\*(.|\n)*?\*\*Do\*\*`, runbook, "no paragraph for %s", name)
	}
	for _, match := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(runbook, -1) {
		require.Contains(t, alerts(t), match[1], "the runbook has a paragraph for an alert that does not exist")
	}
}

// panel is what is read of a panel of Grafana.
type panel struct {
	ID         int
	Title      string
	Datasource struct{ Type, UID string }
	Targets    []struct{ RefID, Expr string }
}

func panels(t *testing.T) []panel {
	t.Helper()
	var dashboard struct {
		UID        string
		Title      string
		Panels     []panel
		Templating struct {
			List []struct {
				Name, Type string
				Query      string
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(read(t, "grafana/dashboards/spillway.json")), &dashboard))
	require.Equal(t, "spillway", dashboard.UID)
	require.Len(t, dashboard.Templating.List, 2)
	require.Equal(t, "datasource", dashboard.Templating.List[0].Name)
	require.Equal(t, "prometheus", dashboard.Templating.List[0].Query)
	require.Equal(t, "installation", dashboard.Templating.List[1].Name)
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			require.Contains(t, target.Expr, `{installation=~"$installation"`, "%s mixes installations", panel.Title)
		}
	}
	return dashboard.Panels
}

func TestTheDashboardsQueriesArePromQL(t *testing.T) {
	t.Parallel()
	// promtool checks queries as rules.
	rules := "groups:\n- name: dashboard\n  rules:\n"
	seen := make(map[int]bool)
	for _, panel := range panels(t) {
		require.False(t, seen[panel.ID], "two panels have the id %d", panel.ID)
		seen[panel.ID] = true
		require.Equal(t, "${datasource}", panel.Datasource.UID, panel.Title)
		require.NotEmpty(t, panel.Targets, panel.Title)
		for i, target := range panel.Targets {
			expr, err := json.Marshal(strings.NewReplacer("$__rate_interval", "5m", "$installation", "one").Replace(target.Expr))
			require.NoError(t, err)
			rules += fmt.Sprintf("  - record: panel%d:query%d\n    expr: %s\n", panel.ID, i, expr)
		}
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	require.NoError(t, os.WriteFile(file, []byte(rules), 0o600))
	promtool(t, "check", "rules", file)
}

// used returns the names of metrics that the rules and the dashboard ask for.
func used(t *testing.T) []string {
	t.Helper()
	var exprs strings.Builder
	rules := read(t, "prometheus/spillway.rules.yml")
	for _, match := range regexp.MustCompile(`(?s)expr: (.*?)\n +(?:for|labels):`).FindAllStringSubmatch(rules, -1) {
		exprs.WriteString(match[1] + "\n")
	}
	for _, panel := range panels(t) {
		for _, target := range panel.Targets {
			exprs.WriteString(target.Expr + "\n")
		}
	}
	exprs.WriteString(read(t, "kubernetes/overlays/keda/worker-scaling.yaml"))
	names := regexp.MustCompile(`\b(?:spillway_\w+|process_\w+)`).FindAllString(exprs.String(), -1)
	require.NotEmpty(t, names)
	return names
}

// programOf says what the test's own process is to be, in place of the tests.
const programOf = "ASSEMBLY_TEST_PROGRAM"

// TestMain becomes a program that panics where nothing recovers.
func TestMain(m *testing.M) {
	if os.Getenv(programOf) == "" {
		os.Exit(m.Run())
	}
	os.Args = os.Args[:1]
	os.Exit(Main(config.Ingest, func(ctx context.Context, _ config.Config, _ zerolog.Logger) error {
		go panic("outside of any handler")
		<-ctx.Done()
		return nil
	}))
}

// A panic is started again, as often as it takes, and wrong settings are not,
// under systemd as under Docker and Kubernetes, which start everything again.
func TestAPanicIsStartedAgainAndWrongSettingsAreNot(t *testing.T) {
	t.Parallel()
	ended := func(environ ...string) int {
		program := exec.CommandContext(t.Context(), os.Args[0])
		program.Env = append([]string{programOf + "=panic"}, environ...)
		out, err := program.CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s", out)
		return exit.ExitCode()
	}
	panicked, wrong := ended("SPILLWAY_ACCESS_KEYS=a-long-access-key"), ended("SPILLWAY_ACCESS_KEYS=short")
	require.Equal(t, ExitSettings, wrong)
	for _, unit := range []string{"spillway-ingest.service", "spillway-worker@.service"} {
		text := read(t, "systemd/"+unit)
		require.Contains(t, text, "\nRestart=always\n", unit)
		require.Contains(t, text, "\nStartLimitIntervalSec=0\n", "%s: a few panics in a row would stop it for good", unit)
		prevented := strings.Fields(regexp.MustCompile(`(?m)^RestartPreventExitStatus=(.*)$`).FindStringSubmatch(text)[1])
		require.NotContains(t, prevented, fmt.Sprint(panicked), unit)
		require.Contains(t, prevented, fmt.Sprint(wrong), unit)
	}
	require.Contains(t, read(t, "systemd/spillway-redis.service"), "\nRestart=always\n")
	require.Contains(t, read(t, "compose.yaml"), "restart: unless-stopped")
}

func TestSystemdUnitsAreValidAndHardened(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here: it comes with systemd")
	}
	units, err := filepath.Glob(filepath.Join(deployDir, "systemd", "*.service"))
	require.NoError(t, err)
	require.Len(t, units, 3)
	dir := t.TempDir()
	for _, unit := range units {
		// The programs are not installed here; a missing one is an error.
		text, err := os.ReadFile(unit)
		require.NoError(t, err)
		copied := filepath.Join(dir, strings.Replace(filepath.Base(unit), "@", "@8082", 1))
		installed := regexp.MustCompile(`/usr/(?:lib/spillway/\w+|bin/redis-server)`).ReplaceAllString(string(text), "/bin/true")
		require.NoError(t, os.WriteFile(copied, []byte(installed), 0o600))
		out, err := exec.CommandContext(t.Context(), analyze, "verify", copied).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.NotContains(t, string(out), filepath.Base(copied)+":", "%s", out)
		// 0 is best, 10 is worst; the threshold is in tenths.
		out, err = exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=20", copied).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// The agency's example is an installation that starts: its settings are complete
// with the secrets that each program gets.
func TestTheAgencysSitesAreComplete(t *testing.T) {
	t.Parallel()
	const overlay = "kubernetes/overlays/agency/"
	files, err := filepath.Glob(filepath.Join(deployDir, overlay, "sites", "*.env"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	for program, role := range map[string]config.Role{"ingest": config.Ingest, "worker": config.Worker} {
		folder := t.TempDir()
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(folder, filepath.Base(file)), text, 0o600))
		}
		for _, match := range regexp.MustCompile(`path: ((\w+)/SPILLWAY_\w+)`).FindAllStringSubmatch(read(t, overlay+program+".yaml"), -1) {
			require.NoError(t, os.MkdirAll(filepath.Join(folder, match[2]), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(folder, match[1]), []byte("a-secret-of-"+match[2]), 0o600))
		}
		settings, err := config.Load(role, nil, []string{
			"SPILLWAY_SITES=" + folder, "SPILLWAY_SECRET_KEY=" + agencySecret, "SPILLWAY_SITE_USER=", "SPILLWAY_FIELDS=",
		})
		require.NoError(t, err)
		all, err := sites.Read(settings, role)
		require.NoError(t, err, program)
		require.Len(t, all, 3)
	}
}
