package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// Entry is a setting as people read about it.
type Entry struct {
	Name    string `json:"name"`
	Group   string `json:"group"`
	Help    string `json:"help"`
	Default string `json:"default,omitempty"`
	Example string `json:"example,omitempty"` // of a setting that has no default
	Secret  bool   `json:"secret,omitempty"`  // no flag, and better a file of its own
}

// secretSettings are the settings without a flag. After names the setting that
// each follows in the table.
func secretSettings() []struct{ Name, After, Help string } {
	return []struct{ Name, After, Help string }{
		{"SPILLWAY_CRM_TOKEN", "SPILLWAY_CRM_URL", "A token of the CRM's API."},
		{"SPILLWAY_CRM_CLIENT_ID", "SPILLWAY_CRM_TOKEN", "Or OAuth in its place, with a client that nothing else uses; needs SPILLWAY_SECRET_KEY."},
		{"SPILLWAY_CRM_CLIENT_SECRET", "SPILLWAY_CRM_CLIENT_ID", "OAuth: the client's secret."},
		{"SPILLWAY_CRM_REFRESH_TOKEN", "SPILLWAY_CRM_CLIENT_SECRET", "OAuth: for the first renewal; the tokens after it are kept in Redis."},
		{"SPILLWAY_SITE_APP_PASSWORD", "SPILLWAY_SITE_USER", "That user's application password."},
		{"SPILLWAY_SECRET_KEY", "SPILLWAY_DEFAULT_ROLE", "32 bytes in base64: seals returned passwords and OAuth tokens in Redis. Make one with: spillway keys"},
		{"SPILLWAY_ACCESS_KEYS", "SPILLWAY_PUBLIC_URL", "The keys that webhooks carry, comma-separated, 8 characters or more each; WP Fusion's own may be kept, two while one is being replaced. Make one with: spillway keys"},
		{"SPILLWAY_ADMIN_PASSWORD", "SPILLWAY_ADMIN_ADDR", "Password of the user admin; without one the admin address must be a loopback one."},
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
			for _, secret := range secretSettings() {
				if secret.After == table[at].Name {
					table = append(table, Entry{Name: secret.Name, Group: entry.Group, Help: secret.Help, Secret: true})
				}
			}
		}
	}
	flags := reflect.TypeFor[Flags]()
	for i := range flags.NumField() {
		tag := flags.Field(i).Tag
		entry := Entry{Name: variable(tag.Get("name")), Group: tag.Get("group"), Help: tag.Get("help"), Example: tag.Get("example")}
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

const exampleHead = `# Settings of Spillway, as ` + "`spillway env`" + ` prints them. For ` + "`spillway run`" + ` they
# belong into .env, for systemd (deploy/systemd) into /etc/spillway/env, for
# deploy/compose.yaml into deploy/env.
#
# Lines are NAME=value; # begins a comment, and a line that begins with #SPILLWAY
# shows the default, or nothing. Each NAME is also available as NAME_FILE, the
# path of a file that holds the value: where secrets (marked) are files of their
# own, leave them out here. A value with a $, a # or quotes belongs between
# single quotes.
`

// Example returns all settings as the text of a file for [WithEnvFile]. What an
// installation must be told is not commented out, but for the secrets.
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
		if entry.Secret {
			help = "(secret) " + help
		}
		text.WriteString(comment(help))
		if entry.Example != "" {
			fmt.Fprintf(&text, "%s=%s\n", entry.Name, entry.Example)
		} else {
			fmt.Fprintf(&text, "#%s=%s\n", entry.Name, entry.Default)
		}
	}
	return text.String()
}

// comment writes a text as comment lines of at most 80 characters.
func comment(text string) string {
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
