package wptest

import (
	"bytes"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"text/template"

	"github.com/stretchr/testify/require"
)

//go:embed files testdata/wp-fusion-stub
var embedded embed.FS

// connector is the connector's folder, in the repository and among the site's
// plugins.
const connector = "spillway-connector"

// writeTree writes all of the site's files but those that hold its address.
func (s *Site) writeTree() {
	s.tb.Helper()
	www := s.path("www")
	// Settings and drop-ins of another site, and languages that this one does
	// not speak.
	foreign := []string{
		"wp-config.php", "wp-content/languages", "wp-content/uploads", "wp-content/mu-plugins", "wp-content/database",
		"wp-content/db.php", "wp-content/object-cache.php", "wp-content/advanced-cache.php",
	}
	// Folders without code, two thirds of WordPress, are linked. Code is copied,
	// since it finds the site's settings by the path of its own files.
	static := []string{
		"wp-includes/js", "wp-includes/css", "wp-includes/fonts", "wp-includes/images",
		"wp-admin/js", "wp-admin/css", "wp-admin/images",
	}
	wordPress, err := filepath.Abs(s.options.WordPressDir)
	require.NoError(s.tb, err)
	require.NoError(s.tb, copyTree(www, os.DirFS(wordPress), func(path string) bool {
		return !slices.Contains(foreign, path) && !slices.Contains(static, path)
	}))
	for _, path := range static {
		require.NoError(s.tb, os.Symlink(filepath.Join(wordPress, path), filepath.Join(www, path)))
	}
	plugins := filepath.Join(www, "wp-content", "plugins")
	root, err := repository()
	require.NoError(s.tb, err)
	source := filepath.Join(root, "deploy", "wordpress", connector)
	require.NoError(s.tb, copyTree(filepath.Join(plugins, connector), os.DirFS(source), nil))
	stub, err := fs.Sub(embedded, "testdata/wp-fusion-stub")
	require.NoError(s.tb, err)
	require.NoError(s.tb, copyTree(filepath.Join(plugins, "wp-fusion-stub"), stub, nil))

	require.NoError(s.tb, os.MkdirAll(s.path("tmp"), 0o700))
	files, err := fs.Sub(embedded, "files")
	require.NoError(s.tb, err)
	require.NoError(s.tb, copyTree(s.path("scripts"), files, nil))

	mustUse := filepath.Join(www, "wp-content", "mu-plugins")
	require.NoError(s.tb, os.MkdirAll(mustUse, 0o755))
	own, err := fs.ReadFile(files, "wptest.php")
	require.NoError(s.tb, err)
	require.NoError(s.tb, os.WriteFile(filepath.Join(mustUse, "wptest.php"), own, 0o600))
	for name, source := range s.options.Plugins {
		if !strings.HasSuffix(name, ".php") {
			name += ".php" // WordPress loads no other
		}
		require.NoError(s.tb, os.WriteFile(filepath.Join(mustUse, name), []byte(source), 0o600))
	}
	require.NoError(s.tb, s.owner.take(s.dir))
}

// writeConfig writes a configuration file from the template of its name.
func (s *Site) writeConfig(path, name string, multisite bool) {
	s.tb.Helper()
	parsed, err := template.ParseFS(embedded, "files/"+name)
	require.NoError(s.tb, err)
	var out bytes.Buffer
	environment := "local"
	if s.options.Production {
		environment = "production"
	}
	require.NoError(s.tb, parsed.Execute(&out, map[string]any{
		"Dir": s.dir, "Host": s.host, "Multisite": multisite, "PHPWorkers": s.options.PHPWorkers, "Environment": environment,
		"NginxReloads": s.options.NginxReloads, "NginxHTTP": s.options.NginxHTTP, "NginxServer": strings.ReplaceAll(s.options.NginxServer, "DIR", s.dir),
	}))
	require.NoError(s.tb, os.WriteFile(path, out.Bytes(), 0o600))
	require.NoError(s.tb, s.owner.take(path))
}

// plugins are the plugins to activate, as WordPress names them.
func (s *Site) plugins() []string {
	s.tb.Helper()
	main, err := mainFile(s.path("www", "wp-content", "plugins", connector))
	require.NoError(s.tb, err)
	plugins := []string{connector + "/" + main}
	if s.options.WPFusion {
		plugins = append(plugins, "wp-fusion-stub/wp-fusion-stub.php")
	}
	return plugins
}

func (s *Site) path(elements ...string) string {
	return filepath.Join(append([]string{s.dir}, elements...)...)
}

// repository finds the repository: that of this file, or, for a binary built
// with -trimpath, of the working directory.
func repository() (string, error) {
	_, here, _, _ := runtime.Caller(0)
	working, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for the repository: %w", err)
	}
	for _, start := range []string{filepath.Dir(here), working} {
		for dir := start; filepath.IsAbs(dir) && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				return dir, nil
			}
		}
	}
	return "", fmt.Errorf("looking for the repository: no go.mod above %s", working)
}

// Version is the environment variable that names the WordPress of all sites:
// one that .ci/wordpress has fetched, "trixie" or "sid", or the path of a tree.
// Empty means Debian's installed package.
const Version = "SPILLWAY_TEST_WORDPRESS"

// unstable is the suite whose WordPress may be missing anywhere.
const unstable = "sid"

// wordPressDir is the tree that [Version] names.
func wordPressDir() (string, error) {
	name := os.Getenv(Version)
	if name == "" {
		return "/usr/share/wordpress", nil
	}
	if filepath.IsAbs(name) {
		return name, nil
	}
	root, err := repository()
	return filepath.Join(root, "var", "wordpress", name), err
}

// Fetched returns the tree of the WordPress that .ci/wordpress has fetched of a
// Debian suite, or "" when there is none.
func Fetched(suite string) string {
	root, err := repository()
	if err != nil {
		return ""
	}
	dir := filepath.Join(root, "var", "wordpress", suite)
	if _, err := os.Stat(filepath.Join(dir, "wp-load.php")); err != nil {
		return ""
	}
	return dir
}

// mainFile finds the file that makes a folder a plugin.
func mainFile(dir string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "*.php"))
	if err != nil {
		return "", err
	}
	header := regexp.MustCompile(`(?m)^[ \t/*#@]*Plugin Name:`)
	for _, path := range found {
		content, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		if header.Match(content) {
			return filepath.Base(path), nil
		}
	}
	return "", fmt.Errorf("no plugin in %s: no file there has a \"Plugin Name:\" header", dir)
}

// copyTree copies files and folders, following links, as far as wanted says so
// of their path; nil wants all.
func copyTree(target string, source fs.FS, wanted func(path string) bool) error {
	return copyBelow(target, source, ".", wanted)
}

func copyBelow(target string, source fs.FS, path string, wanted func(string) bool) error {
	info, err := fs.Stat(source, path) // follows links, which WalkDir does not
	if err != nil {
		return err
	}
	to := filepath.Join(target, filepath.FromSlash(path))
	if !info.IsDir() {
		if !info.Mode().IsRegular() {
			return nil // sockets of a server that ran here
		}
		return copyFile(to, source, path)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	entries, err := fs.ReadDir(source, path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		below := entry.Name()
		if path != "." {
			below = path + "/" + entry.Name()
		}
		if wanted != nil && !wanted(below) {
			continue
		}
		if err := copyBelow(target, source, below, wanted); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(to string, source fs.FS, path string) error {
	from, err := source.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, from); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
