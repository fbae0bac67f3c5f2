package config

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// Whose settings there are.
const (
	ScopeInstallation = "installation"
	ScopeSite         = "site" // in the file of a site, if there is a folder of them
	ScopeBoth         = "both"
)

// Entry is a setting as people read about it.
type Entry struct {
	Name    string `json:"name"`
	Scope   string `json:"scope"`
	Group   string `json:"group"`
	Help    string `json:"help"`
	Default string `json:"default,omitempty"`
	Example string `json:"example,omitempty"` // of a setting that has no default
	Secret  bool   `json:"secret,omitempty"`  // no flag, and better a file of its own
}

// flaglessSetting is a setting that no command line holds.
type flaglessSetting struct {
	Name, After, Help string // After names the setting that it follows in the table
	Secret            bool
	Scope             string
}

// flaglessSettings are the secrets and the certificates.
func flaglessSettings() []flaglessSetting {
	return []flaglessSetting{
		{"SPILLWAY_CRM_TOKEN", "SPILLWAY_CRM_URL", "A token of the CRM's API.", true, ScopeSite},
		{"SPILLWAY_CRM_CLIENT_ID", "SPILLWAY_CRM_TOKEN", "Or OAuth in its place, with a client that nothing else uses; needs SPILLWAY_SECRET_KEY.", true, ScopeSite},
		{"SPILLWAY_CRM_CLIENT_SECRET", "SPILLWAY_CRM_CLIENT_ID", "OAuth: the client's secret.", true, ScopeSite},
		{"SPILLWAY_CRM_REFRESH_TOKEN", "SPILLWAY_CRM_CLIENT_SECRET", "OAuth: for the first renewal; the tokens after it are kept in Redis.", true, ScopeSite},
		{"SPILLWAY_SITE_APP_PASSWORD", "SPILLWAY_SITE_USER", "That user's application password.", true, ScopeSite},
		{"SPILLWAY_SECRET_KEY", "SPILLWAY_DEFAULT_ROLE", "32 bytes in base64: seals returned passwords and OAuth tokens in Redis. Make one with: spillway keys", true, ScopeInstallation},
		{"SPILLWAY_SEARCH_KEY", "SPILLWAY_SECRET_KEY", "32 bytes in base64, the same on ingest and workers: the dashboard then finds contacts by e-mail address, of which Redis holds keyed hashes.", true, ScopeInstallation},
		{"SPILLWAY_ACCESS_KEYS", "SPILLWAY_PUBLIC_URL", "The keys that webhooks carry, comma-separated, 8 characters or more each; WP Fusion's own may be kept, two while one is being replaced. Make one with: spillway keys", true, ScopeSite},
		{"SPILLWAY_ADMIN_PASSWORD", "SPILLWAY_ADMIN_ADDR", "Password of the user admin; without one the admin address must be a loopback one. In a site's file: opens that site alone.", true, ScopeBoth},
		{"SPILLWAY_CA", "SPILLWAY_REDIS_URL", "Certificates (PEM) of an authority of your own for Redis, the CRM and the site; name their file with SPILLWAY_CA_FILE.", false, ScopeInstallation},
		{"SPILLWAY_TLS_CERT", "SPILLWAY_INGEST_ADDR", "TLS without a proxy: the certificate (PEM); name its file with SPILLWAY_TLS_CERT_FILE. A file that changes is taken up without a restart.", false, ScopeInstallation},
		{"SPILLWAY_TLS_KEY", "SPILLWAY_TLS_CERT", "TLS without a proxy: the certificate's key (PEM); name its file with SPILLWAY_TLS_KEY_FILE.", true, ScopeInstallation},
	}
}

// defaultOf finds what a flag's help says of its default; "default: …" is in
// words.
var defaultOf = regexp.MustCompile(` ?\(default ([^)]+)\)`)

// Table lists all settings, in the order in which one fills them in.
func Table() []Entry {
	var table []Entry
	following := func(entry Entry) {
		table = append(table, entry)
		for at := len(table) - 1; at < len(table); at++ {
			for _, setting := range flaglessSettings() {
				if setting.After == table[at].Name {
					table = append(table, Entry{Name: setting.Name, Group: entry.Group, Help: setting.Help, Secret: setting.Secret, Scope: setting.Scope})
				}
			}
		}
	}
	flags := reflect.TypeFor[Flags]()
	for i := range flags.NumField() {
		tag := flags.Field(i).Tag
		entry := Entry{Name: variable(tag.Get("name")), Scope: scopeOf(tag), Group: tag.Get("group"), Help: tag.Get("help"), Example: tag.Get("example")}
		if match := defaultOf.FindStringSubmatch(entry.Help); match != nil {
			entry.Default, entry.Help = match[1], strings.Replace(entry.Help, match[0], "", 1)
		}
		if entry.Group == "" && len(table) > 0 {
			entry.Group = table[len(table)-1].Group
		}
		following(entry)
	}
	return table
}

// scopeOf reads the tag of a flag.
func scopeOf(tag reflect.StructTag) string {
	if scope := tag.Get("scope"); scope != "" {
		return scope
	}
	return ScopeInstallation
}

// refuseScope reports settings that belong elsewhere.
func (s *settings) refuseScope(scope, remedy string) {
	for _, entry := range Table() {
		if entry.Scope == scope && s.given(entry.Name) {
			s.problem(entry.Name, " %s", remedy)
		}
	}
}

const exampleHead = `# Settings of Spillway, as ` + "`spillway env`" + ` prints them. For ` + "`spillway run`" + ` they
# belong into .env, for systemd (deploy/systemd) into /etc/spillway/env, for
# deploy/compose.yaml into deploy/env.
#
# Lines are NAME=value; # begins a comment. A line that begins with #SPILLWAY
# shows the default, or nothing; where it is marked as needed, an example. Each
# NAME is also available as NAME_FILE, the path of a file that holds the value
# (an empty file counts as unset): where secrets (marked) are files of their own,
# leave them out here. A value with a $, a # or quotes belongs between single
# quotes.
`

// Example returns all settings as the text of a file for [WithEnvFile]. All are
// commented out: a file that nobody has edited starts nothing.
func Example() string {
	var text strings.Builder
	text.WriteString(exampleHead)
	group := ""
	for _, entry := range Table() {
		if entry.Group != group {
			group = entry.Group
			fmt.Fprintf(&text, "\n# --- %s ---\n", group)
		}
		help := entry.Help
		switch {
		case entry.Secret:
			help = "(secret) " + help
		case entry.Example != "":
			help = "(needed) " + help
		}
		text.WriteString(Comment(help))
		fmt.Fprintf(&text, "#%s=%s\n", entry.Name, cmp.Or(entry.Example, entry.Default))
	}
	return text.String()
}

// Comment writes a text as comment lines of an .env file, of at most 80 characters.
func Comment(text string) string {
	const width = 80
	var lines strings.Builder
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > width {
			lines.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	return lines.String() + line + "\n"
}
