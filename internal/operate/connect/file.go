package connect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"spillway/internal/config"
)

// ErrExists reports a file that has settings of a site already.
var ErrExists = errors.New("the file has settings of a site")

const (
	fileHead = "# A site's settings, as `spillway connect` wrote them. Lines are NAME=value; the file\n" +
		"# holds secrets and is for its owner's eyes alone. `spillway env` prints all settings\n" +
		"# with what they mean, `spillway doctor` checks them.\n"
	mask = "********"
)

// Text is the file's content. With masked, no secret is in it.
func (p Plan) Text(masked bool) string {
	var text strings.Builder
	text.WriteString(fileHead)
	for _, line := range p.Lines {
		if line.Comment != "" {
			text.WriteString("\n" + config.Comment(line.Comment))
		}
		value := line.Value
		if masked && line.Secret {
			value = mask
		}
		if line.Off {
			text.WriteString("#")
		}
		fmt.Fprintf(&text, "%s=%s\n", line.Name, quoted(value))
	}
	return text.String()
}

var plainValue = regexp.MustCompile(`^[A-Za-z0-9_./:@,=+*-]*$`)

// quoted writes a value so that it is read back as it is.
func quoted(value string) string {
	value = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1 // no setting of a site holds one
		}
		return r
	}, value)
	switch {
	case plainValue.MatchString(value):
		return value
	case !strings.ContainsAny(value, `'\`):
		return "'" + value + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(value) + `"`
}

// Write writes the plan into a file of mode 0600, all of it or nothing. If the
// file exists, its other settings stay. Settings that the plan has too are
// replaced if replace allows it; otherwise Write returns ErrExists. When it runs
// as root, the file gets the owner of the former file, or of its folder, who has
// to read it.
func (p Plan) Write(path string, replace bool) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("writing the site's settings: %w", err)
	}
	kept, taken := p.without(string(old))
	if len(taken) > 0 && !replace {
		return fmt.Errorf("%w: %s: %s", ErrExists, path, strings.Join(taken, ", "))
	}
	text := p.Text(false)
	if strings.TrimSpace(kept) != "" {
		text = strings.TrimRight(kept, "\n") + "\n\n" + text
	}
	folder := filepath.Dir(path)
	temporary, err := os.CreateTemp(folder, ".connect") // mode 0600
	if err != nil {
		return fmt.Errorf("writing the site's settings: %w", err)
	}
	defer os.Remove(temporary.Name()) // after the rename it is gone
	_, err = temporary.WriteString(text)
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err == nil {
		err = giveTo(temporary.Name(), path, folder)
	}
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing the site's settings to %s: %w", path, err)
	}
	return nil
}

// Conflict returns the error that [Plan.Write] would return. It is asked before
// the code is used up, when only the names are known that every site's file has.
func Conflict(path string) error {
	p := Plan{Lines: []Line{{Name: "SPILLWAY_SITE_URL"}, {Name: "SPILLWAY_SITE_USER"}, {Name: "SPILLWAY_SITE_APP_PASSWORD"}}}
	old, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the site's settings: %w", err)
	}
	if _, taken := p.without(string(old)); len(taken) > 0 {
		return fmt.Errorf("%w: %s: %s", ErrExists, path, strings.Join(taken, ", "))
	}
	return nil
}

// ways are the two ways into the CRM, of which a file has one.
var ways = [][]string{
	{"SPILLWAY_CRM_TOKEN"},
	{"SPILLWAY_CRM_CLIENT_ID", "SPILLWAY_CRM_CLIENT_SECRET", "SPILLWAY_CRM_REFRESH_TOKEN"},
}

var assignment = regexp.MustCompile(`^\s*(?:export\s+)?(SPILLWAY_[A-Z_]+)\s*[=:]`)

// without removes from a file's content the settings of the plan, and those of
// the other way into the CRM. taken names the settings that it removed.
func (p Plan) without(content string) (kept string, taken []string) {
	var names []string
	for _, line := range p.Lines {
		if !line.Off {
			names = append(names, line.Name)
		}
	}
	for i, way := range ways {
		if slices.ContainsFunc(way, func(name string) bool { return slices.Contains(names, name) }) {
			names = append(names, ways[1-i]...)
		}
	}
	var lines strings.Builder
	for line := range strings.Lines(content) {
		if match := assignment.FindStringSubmatch(line); match != nil && slices.Contains(names, strings.TrimSuffix(match[1], "_FILE")) {
			taken = append(taken, match[1])
			continue
		}
		lines.WriteString(line)
	}
	// A former run's own words about what is gone.
	kept = strings.ReplaceAll(lines.String(), fileHead, "")
	for _, line := range p.Lines {
		if line.Comment != "" {
			kept = strings.ReplaceAll(kept, "\n"+config.Comment(line.Comment), "")
		}
		if line.Off {
			kept = strings.ReplaceAll(kept, "#"+line.Name+"=\n", "")
		}
	}
	return kept, taken
}
