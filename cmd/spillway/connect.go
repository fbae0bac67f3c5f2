package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"spillway/internal/config"
	"spillway/internal/operate/connect"
	"spillway/internal/operate/doctor"
	"spillway/internal/site"
	"spillway/internal/sites"
)

type connectCommand struct {
	Code string `arg:"" optional:"" help:"The code that Tools » Spillway shows in wp-admin; - or none: it is read from the input, where ps does not show it."`

	Site      string `name:"site" placeholder:"NAME" help:"The name of the site's file in the folder of SPILLWAY_SITES (default: made of its address)."`
	DryRun    bool   `name:"dry-run" help:"Print the file with its secrets masked. The code is not used up."`
	Replace   bool   `name:"replace" help:"Replace what the file has of this; its other settings stay."`
	TakeOAuth bool   `name:"take-oauth" help:"Take WP Fusion's OAuth client and refresh token in place of its access token: for when WP Fusion is switched off."`
	envFlag
	jsonFlag
}

// sitesVariable names the folder with a file for each site; without the
// variable and the folder, one site is in the environment's file.
const (
	sitesVariable = "SPILLWAY_SITES"
	sitesFolder   = "/etc/spillway/sites"
)

// Run is called by kong.
func (cmd *connectCommand) Run(ctx context.Context, c *console) error {
	code, err := cmd.read(c)
	if err != nil {
		return usageError(err.Error())
	}
	environ, err := cmd.environment(c)
	if err != nil {
		return err
	}
	path, shared, err := cmd.target(environ, code)
	if err != nil {
		return err
	}
	if err := connect.Conflict(path); err != nil && !cmd.Replace && !cmd.DryRun {
		return fmt.Errorf("%w: --replace replaces them, and keeps the others", err)
	}
	roots, err := certificates(environ)
	if err != nil {
		return err
	}
	had, err := cmd.given(environ, path, shared)
	if err != nil {
		return err
	}
	const siteVariable = "SPILLWAY_SITE_URL"
	address := code.Address(valueOf(environ, siteVariable), valueOf(had, siteVariable))
	given, err := site.Connect(ctx, site.Exchange{URL: address, Secret: code.Secret, DryRun: cmd.DryRun, Roots: roots})
	if err != nil {
		return err
	}
	plan := connect.NewPlan(given, connect.Options{
		Site: address, TakeOAuth: cmd.TakeOAuth, Shared: shared, Given: func(name string) bool { return isGiven(had, name) },
	})
	if cmd.DryRun {
		return cmd.show(c, path, plan)
	}
	if err := plan.Write(path, true); err != nil {
		return fmt.Errorf("%w; the code is used up and its password made: press Disconnect under Tools » Spillway, and make another code", err)
	}
	return cmd.examine(ctx, c, environ, path, shared, plan)
}

// environment is what there is of settings already: the file that --env-file
// names need not exist yet. Where none names a Redis, those of the services that
// are installed on this machine are added, as for other commands.
func (cmd *connectCommand) environment(c *console) ([]string, error) {
	environ, err := c.withEnvFile(cmd.envFlag)
	switch {
	case err != nil && (cmd.EnvFile == "" || !errors.Is(err, os.ErrNotExist)):
		return nil, err
	case err != nil:
		environ = c.environ
	}
	if cmd.EnvFile != "" || namesRedis(environ) || c.installed == "" {
		return environ, nil
	}
	return withInstalled(environ, c.installed)
}

// given are the settings that there are beside what the code brings: those of the
// site's own file count before those of the installation, and what the
// installation has of another site not at all.
func (cmd *connectCommand) given(environ []string, path string, shared bool) ([]string, error) {
	if !shared {
		return environ, nil
	}
	environ = withoutSite(environ)
	had, err := config.WithEnvFile(environ, path)
	if errors.Is(err, os.ErrNotExist) {
		return environ, nil
	}
	return had, err
}

// read takes the code from the argument or the input.
func (cmd *connectCommand) read(c *console) (connect.Code, error) {
	if cmd.Code != "" && cmd.Code != "-" {
		return connect.ParseCode(cmd.Code)
	}
	const longest = 64 << 10
	input := io.LimitReader(c.in, longest)
	if file, ok := c.in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		fmt.Fprint(c.err, "Paste the connection code and press Enter: ")
		return readLines(bufio.NewReader(input))
	}
	pasted, err := io.ReadAll(input)
	if err != nil {
		return connect.Code{}, fmt.Errorf("reading the connection code: %w", err)
	}
	return connect.ParseCode(string(pasted))
}

// readLines takes a code from a terminal, where one that was wrapped comes in
// several lines. A blank line ends what is not whole.
func readLines(input *bufio.Reader) (connect.Code, error) {
	var pasted strings.Builder
	for {
		line, err := input.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return connect.Code{}, fmt.Errorf("reading the connection code: %w", err)
		}
		pasted.WriteString(line)
		code, wrong := connect.ParseCode(pasted.String())
		if !errors.Is(wrong, connect.ErrNotWhole) || err != nil || strings.TrimSpace(line) == "" {
			return code, wrong
		}
	}
}

// target is the file that the settings belong into. shared: other sites have
// files beside it.
func (cmd *connectCommand) target(environ []string, code connect.Code) (path string, shared bool, err error) {
	folder := valueOf(environ, sitesVariable)
	if info, err := os.Stat(sitesFolder); folder == "" && err == nil && info.IsDir() && cmd.EnvFile == "" {
		folder = sitesFolder
	}
	switch {
	case folder == "" && cmd.Site != "":
		return "", false, usageError("--site names a file in the folder of SPILLWAY_SITES, which is not set: make the folder " + sitesFolder + ", or leave --site out for a single site")
	case folder == "" && cmd.EnvFile != "":
		return cmd.EnvFile, false, nil
	case folder == "":
		return ".env", false, nil
	}
	name := cmd.Site
	if name == "" {
		name = code.SiteName()
	}
	if !sites.ValidName(name) {
		return "", false, usageError("--site: a site's name has up to 40 small letters, digits and hyphens")
	}
	return filepath.Join(folder, name+".env"), true, nil
}

// show prints what would be written.
func (cmd *connectCommand) show(c *console, path string, plan connect.Plan) error {
	if cmd.JSON {
		return c.json(cmd.result(path, plan, nil))
	}
	c.say("%s\n", plan.Text(true))
	c.remarks(plan)
	c.say("\nNothing is written to %s yet. The code is still good: the same command without --dry-run.\n", path)
	return nil
}

// examine tells what was written and runs the doctor on it.
func (cmd *connectCommand) examine(ctx context.Context, c *console, environ []string, path string, shared bool, plan connect.Plan) error {
	if !cmd.JSON {
		c.remarks(plan)
		c.say("\nWritten to %s.\n\n", path)
		if folder := filepath.Dir(path); shared && valueOf(environ, sitesVariable) == "" {
			c.say("To do: set %s=%s for ingest and the workers, and restart them; they read the folder only then.\n\n", sitesVariable, folder)
		}
	}
	written, err := cmd.written(c, environ, path, shared, plan)
	if err != nil {
		return err
	}
	report := doctor.Examine(ctx, written)
	if err := ctx.Err(); err != nil {
		return err
	}
	if cmd.JSON {
		err = c.json(cmd.result(path, plan, &report))
	} else {
		err = report.Print(c.out, c.colours())
	}
	if err == nil && report.Failed > 0 {
		err = errFindings
	}
	return err
}

// written reads the settings of the site back, with those of the installation.
func (cmd *connectCommand) written(c *console, environ []string, path string, shared bool, plan connect.Plan) (config.Config, error) {
	if !shared {
		// The file counts before what the environment had of another site.
		own := &console{environ: withoutPlanned(c.environ, plan)}
		all, err := own.settings(envFlag{EnvFile: path}, config.Flags{})
		if err != nil {
			return config.Config{}, err
		}
		return all[0], nil
	}
	folder, file := filepath.Split(path)
	installation, err := config.Flags{}.Config(config.Operator, append(withoutSite(environ), sitesVariable+"="+folder))
	if err != nil {
		return config.Config{}, err
	}
	all, err := sites.Read(installation, config.Operator)
	if err != nil {
		return config.Config{}, err
	}
	return sites.Find(all, strings.TrimSuffix(file, ".env"))
}

// connected is what --json prints.
type connected struct {
	Path     string           `json:"path"`
	DryRun   bool             `json:"dry_run"`
	Settings []setting        `json:"settings"`
	Remarks  []connect.Remark `json:"remarks"`
	Doctor   *doctor.Report   `json:"doctor,omitempty"`
}

type setting struct {
	Name   string `json:"name"`
	Value  string `json:"value,omitempty"` // empty for a secret
	Secret bool   `json:"secret,omitempty"`
	ToDo   bool   `json:"to_do,omitempty"` // not set
}

func (cmd *connectCommand) result(path string, plan connect.Plan, report *doctor.Report) connected {
	result := connected{Path: path, DryRun: cmd.DryRun, Remarks: plan.Remarks, Doctor: report}
	for _, line := range plan.Lines {
		shown := setting{Name: line.Name, Value: line.Value, Secret: line.Secret, ToDo: line.Off}
		if line.Secret {
			shown.Value = ""
		}
		result.Settings = append(result.Settings, shown)
	}
	return result
}

// remarks prints what became of each setting.
func (c *console) remarks(plan connect.Plan) {
	if len(plan.Remarks) == 0 {
		return
	}
	c.say("What became of WP Fusion's settings:\n")
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, remark := range plan.Remarks {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", remark.Verdict, remark.Setting, remark.Text)
	}
	_ = table.Flush() // the console's own errors show in what follows
}

// certificates are the authorities of the settings, whatever else is wrong there.
func certificates(environ []string) (*x509.CertPool, error) {
	var own []string
	for _, pair := range environ {
		if strings.HasPrefix(pair, "SPILLWAY_CA=") || strings.HasPrefix(pair, "SPILLWAY_CA_FILE=") {
			own = append(own, pair)
		}
	}
	settings, err := config.Flags{}.Config(config.Operator, own)
	return settings.Roots, err
}

// valueOf is a variable's value; empty: not set.
func valueOf(environ []string, name string) string {
	for _, pair := range environ {
		if key, value, _ := strings.Cut(pair, "="); key == name && value != "" {
			return value
		}
	}
	return ""
}

// isGiven reports a setting that has a value, or whose file is not empty.
func isGiven(environ []string, name string) bool {
	if valueOf(environ, name) != "" {
		return true
	}
	info, err := os.Stat(valueOf(environ, name+"_FILE"))
	return err == nil && info.Size() > 0
}

// withoutPlanned takes out of an environment what a plan sets, and the folder of
// sites.
func withoutPlanned(environ []string, plan connect.Plan) []string {
	drop := map[string]bool{sitesVariable: true}
	for _, line := range plan.Lines {
		if !line.Off {
			drop[line.Name] = true
		}
	}
	return without(environ, drop)
}

// withoutSite takes out of an environment what belongs to a site, and the folder
// of sites: an installation that had one site may have its settings there still.
func withoutSite(environ []string) []string {
	drop := map[string]bool{sitesVariable: true}
	for _, entry := range config.Table() {
		if entry.Scope == config.ScopeSite {
			drop[entry.Name] = true
		}
	}
	return without(environ, drop)
}

func without(environ []string, drop map[string]bool) []string {
	var kept []string
	for _, pair := range environ {
		if name, _, _ := strings.Cut(pair, "="); !drop[strings.TrimSuffix(name, "_FILE")] {
			kept = append(kept, pair)
		}
	}
	return kept
}
