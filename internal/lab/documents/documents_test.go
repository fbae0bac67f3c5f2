package documents_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"spillway/deploy/wordpress"
)

const root = "../../.."

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(text)
}

// pages returns the paths of all Markdown files, without what builds and tests
// leave behind.
func pages(t *testing.T) []string {
	t.Helper()
	var found []string
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", "bin", "dist", "var", "testdata"}, entry.Name()) {
			return filepath.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			found = append(found, name)
		}
		return nil
	}))
	require.Contains(t, found, "README.md")
	require.Contains(t, found, filepath.Join("docs", "settings.md"))
	return found
}

var (
	fence   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	code    = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
)

// anchors returns what links may name in a page: its headings as GitHub writes
// them.
func anchors(text string) []string {
	var names []string
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		var name strings.Builder
		for _, letter := range strings.ToLower(link.ReplaceAllString(match[1], "")) {
			switch {
			case letter == ' ':
				name.WriteRune('-')
			case letter == '-' || letter == '_' || unicode.IsLetter(letter) || unicode.IsDigit(letter):
				name.WriteRune(letter)
			}
		}
		names = append(names, name.String())
	}
	return names
}

func TestLinksAndAnchorsLeadSomewhere(t *testing.T) {
	t.Parallel()
	links := 0
	for _, page := range pages(t) {
		text := code.ReplaceAllString(fence.ReplaceAllString(read(t, page), ""), "")
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			target := match[1]
			if strings.Contains(target, "://") {
				continue
			}
			links++
			path, anchor, named := strings.Cut(target, "#")
			file := page
			if path != "" {
				file = filepath.Join(filepath.Dir(page), path)
			}
			info, err := os.Stat(filepath.Join(root, file))
			if err != nil {
				t.Errorf("%s: the link %s leads nowhere", page, target)
				continue
			}
			if named && (info.IsDir() || !slices.Contains(anchors(read(t, file)), anchor)) {
				t.Errorf("%s: %s has no heading for the link %s", page, file, target)
			}
		}
	}
	require.Greater(t, links, 100)
}

func TestTheReadmeIsForAFirstVisit(t *testing.T) {
	t.Parallel()
	require.LessOrEqual(t, len(read(t, "README.md")), 10<<10, "the README has 10 kB at most: put more into docs")
}

// A newcomer finds every folder of the programs explained.
func TestArchitectureNamesEveryFolder(t *testing.T) {
	t.Parallel()
	architecture := read(t, "docs/architecture.md")
	for _, parent := range []string{"cmd", "internal"} {
		folders, err := os.ReadDir(filepath.Join(root, parent))
		require.NoError(t, err)
		require.NotEmpty(t, folders)
		for _, folder := range folders {
			if name := parent + "/" + folder.Name(); folder.IsDir() && !strings.Contains(architecture, "`"+name+"`") {
				t.Errorf("docs/architecture.md does not say what %s owns", name)
			}
		}
	}
}

// rows returns the cells of a page's tables by their first one.
func rows(text string) map[string]string {
	found := make(map[string]string)
	for line := range strings.Lines(text) {
		if first, rest, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | "); ok && strings.HasPrefix(line, "| ") {
			found[first] = strings.TrimSpace(rest)
		}
	}
	return found
}

func TestTheReadmesFiguresAreThoseOfPerformance(t *testing.T) {
	t.Parallel()
	_, why, ok := strings.Cut(read(t, "README.md"), "\n## Why\n")
	require.True(t, ok)
	why, _, ok = strings.Cut(why, "\n## ")
	require.True(t, ok)
	figures, source := rows(why), rows(read(t, "docs/performance.md"))
	require.GreaterOrEqual(t, len(figures), 4, "three rows and a head")
	for what, figure := range figures {
		require.Equal(t, source[what], figure, "docs/performance.md on: %s", what)
	}
}

// Server and connector share one version.
func TestAllPlacesStateOneVersion(t *testing.T) {
	t.Parallel()
	version, err := wordpress.Version()
	require.NoError(t, err)
	const plugin = "deploy/wordpress/spillway-connector/"
	for path, pattern := range map[string]string{
		plugin + "spillway-connector.php": `(?m)^define\( 'SPILLWAY_CONNECTOR_VERSION', '(.+)' \);$`,
		plugin + "readme.txt":             `(?m)^Stable tag: (.+)$`,
		"CHANGELOG.md":                    `(?m)^## \[(.+?)\] – `,
	} {
		match := regexp.MustCompile(pattern).FindStringSubmatch(read(t, path))
		require.NotNil(t, match, path)
		require.Equal(t, version, match[1], path)
	}
	_, log, ok := strings.Cut(read(t, plugin+"readme.txt"), "== Changelog ==\n\n")
	require.True(t, ok)
	require.True(t, strings.HasPrefix(log, "= "+version+" =\n"), "the newest entry of readme.txt's changelog")
}
