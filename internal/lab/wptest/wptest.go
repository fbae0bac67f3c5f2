// Package wptest starts a real WordPress for tests, with the connector plugin
// active: MariaDB, php-fpm and nginx of Debian's packages, each on a socket or
// free port of its own, in a folder of its own, which is kept in memory where
// there is room. The servers end when the test ends, and also when the test's
// process dies, whose folder a later Start deletes; they run as the current
// user, or as www-data for root. The connector is copied from the repository at
// each start.
//
// The first Start on a machine installs WordPress into a template under
// [os.UserCacheDir] (spillway-tests); later ones copy it. The template is
// named for the versions of WordPress and MariaDB and for what the
// installation does, so it need not be invalidated; it may be deleted at any
// time while no test starts.
//
// Two application passwords exist on every site. The user "spillway" has the
// role of that name, which the connector made when it was activated, on each
// site of a network. The user "weak" is a subscriber. The roles
// "customer" (title "Customer") and WordPress's own are registered. No mail
// leaves the site, no cron runs in it, and it calls no other host.
//
// Tests run on the WordPress that the machine has installed, or on another one
// that the environment names; see [Version].
//
// The package needs Linux.
package wptest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Packages are the Debian packages that tests need, this package's and
// redistest's.
const Packages = "redis-server mariadb-server php-fpm php-cli php-mysql php-curl php-mbstring php-xml nginx-light apache2-bin wordpress wordpress-theme-twentytwentythree"

// Options say which WordPress to start. The zero value is a single site of
// Debian's WordPress with the connector alone.
type Options struct {
	// PHPWorkers is how many requests the site bears at once; 0 means 4.
	PHPWorkers int
	// WPFusion activates the stub that stands in for WP Fusion; see
	// [Site.WPFusionCalls].
	WPFusion bool
	// WordPressDir is a complete WordPress tree. It is copied, never written
	// to. Empty means the one that [Version] names.
	WordPressDir string
	// Multisite makes a network of two sites in folders: URL and URL/second.
	Multisite bool
	// Plugins are further must-use plugins: file name to PHP source, as for
	// hooks that misbehave.
	Plugins map[string]string
	// NginxHTTP and NginxServer are directives for nginx's http block and for
	// the beginning of the site's server block. A file that they include is
	// relative to [Site.Dir], unless its path is absolute; DIR in the server's
	// stands for that folder.
	NginxHTTP, NginxServer string
	// NginxReloads lets [Site.ReloadNginx] be called.
	NginxReloads bool
	// Real lets everything take as long as on a real site: files are on the disk,
	// and PHP compiles as it does by default. It is for measurements.
	Real bool
	// Production makes WordPress take application passwords over HTTPS only.
	Production bool
}

// Site is one running WordPress. It is a sitetest.Harness. Its methods fail
// the test on errors, so they belong into the test's own goroutine.
type Site struct {
	tb      testing.TB
	dir     string
	host    string // 127.0.0.1:PORT
	owner   *owner
	tools   tools
	options Options

	passwords map[string]string // login → application password
	nginx     *process
	php       *process // nil while the site is down
}

// Start runs a WordPress with the connector plugin active. Without the Debian
// packages the test is skipped, or fails when CI is set; the WordPress of an
// unstable suite may be missing even then.
func Start(tb testing.TB, options Options) *Site {
	tb.Helper()
	if options.PHPWorkers == 0 {
		options.PHPWorkers = 4
	}
	mayMiss := os.Getenv("CI") == ""
	if options.WordPressDir == "" {
		var err error
		options.WordPressDir, err = wordPressDir()
		require.NoError(tb, err)
		mayMiss = mayMiss || os.Getenv(Version) == unstable
	}
	tools, err := findTools(options.WordPressDir)
	if err != nil {
		if mayMiss {
			tb.Skip(err)
		}
		tb.Fatal(err)
	}
	dir, err := makeFolder(options.Real)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir.Name()); _ = dir.Close() })

	s := &Site{tb: tb, dir: dir.Name(), owner: currentOwner(), tools: tools, options: options}
	s.writeTree()
	s.startDatabase()
	s.startNginx()
	s.startChecks()
	s.StartPHP()

	// The first page loads all of WordPress into PHP's memory, which is not
	// what a test wants to time, and shows that the site answers.
	status, body := s.Get("/wp-json/")
	require.Equal(tb, http.StatusOK, status, "the site does not start: %.300s\n%s", body, s.Log())
	return s
}

// Dir is the site's folder; WordPress is in www below it.
func (s *Site) Dir() string { return s.dir }

// Log returns PHP's error log, WordPress's debug log included.
func (s *Site) Log() string {
	content, err := os.ReadFile(filepath.Join(s.dir, "php.log"))
	if err != nil && !os.IsNotExist(err) {
		require.NoError(s.tb, err)
	}
	return string(content)
}

// Get fetches a page without following redirects; path begins with a slash.
func (s *Site) Get(path string) (status int, body string) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+path, nil)
	require.NoError(s.tb, err)
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(s.tb, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(s.tb, err)
	return response.StatusCode, string(content)
}

// StopPHP ends the site's PHP at once, requests under way included, as a crash
// would; nginx then answers 502. [Site.PHP] and the methods of the harness go
// on working.
func (s *Site) StopPHP() {
	s.tb.Helper()
	require.NotNil(s.tb, s.php, "the site is down")
	s.php.kill()
	s.php = nil
}

// StartPHP brings a site back that [Site.StopPHP] took down.
func (s *Site) StartPHP() {
	s.tb.Helper()
	require.Nil(s.tb, s.php, "the site is not down")
	socket := filepath.Join(s.dir, "fpm.sock")
	// A killed server leaves its socket behind.
	require.NoError(s.tb, removeIfThere(socket))
	arguments := []string{
		"--nodaemonize", "--fpm-config", filepath.Join(s.dir, "php-fpm.conf"),
		// PHP keeps no compiled file that is younger than two seconds, unless told.
		"-d", "opcache.file_update_protection=0", "-d", "opcache.revalidate_freq=0",
	}
	if !s.options.Real {
		// What is compiled once for a few requests need not be fast.
		arguments = append(arguments, "-d", "opcache.optimization_level=0")
	}
	s.php = s.run("php-fpm", s.tools.fpm, arguments...)
	s.php.hasWorkers = true
	s.await(s.php, func() bool { return answers("unix", socket) })
}

// ReloadNginx makes nginx read its configuration again, with the files that
// [Options] include; requests under way go on.
func (s *Site) ReloadNginx() {
	s.tb.Helper()
	require.NoError(s.tb, s.nginx.cmd.Process.Signal(syscall.SIGHUP))
}

// PHP runs a script, without an opening tag, inside the loaded WordPress and
// returns what it prints. It runs beside the site's PHP workers, in a process
// of its own that sees the site as it was loaded at the start: plugins that
// the script activates are not loaded.
func (s *Site) PHP(script string) string {
	s.tb.Helper()
	connection, err := net.DialTimeout("unix", s.checksSocket(), 10*time.Second)
	require.NoError(s.tb, err)
	defer connection.Close()
	require.NoError(s.tb, connection.SetDeadline(time.Now().Add(2*time.Minute)))
	_, err = io.WriteString(connection, script)
	require.NoError(s.tb, err)
	require.NoError(s.tb, connection.(*net.UnixConn).CloseWrite())
	content, err := io.ReadAll(connection)
	require.NoError(s.tb, err)

	var answer struct{ Output, Error string }
	require.NoError(s.tb, json.Unmarshal(content, &answer), "PHP script died: %.300q\n%s", content, s.processLog("checks"))
	require.Empty(s.tb, answer.Error, "PHP script:\n%s", script)
	output, err := base64.StdEncoding.DecodeString(answer.Output)
	require.NoError(s.tb, err)
	return string(output)
}
