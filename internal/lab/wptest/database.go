package wptest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/stretchr/testify/require"
)

// databaseOptions keep a server small; a commit reaches the disk, as in
// MariaDB's default, since that is what writing to a site costs.
func databaseOptions(more ...string) []string {
	return append([]string{
		"--no-defaults", "--skip-networking", "--skip-name-resolve",
		"--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M", "--character-set-server=utf8mb4",
	}, more...)
}

// startDatabase starts MariaDB on a copy of the template, which the first
// start on the machine makes.
func (s *Site) startDatabase() {
	s.tb.Helper()
	template := s.templateDir()
	if _, err := os.Stat(template); err != nil {
		s.makeTemplate(template)
	}
	credentials, err := os.ReadFile(filepath.Join(template, "credentials.json"))
	require.NoError(s.tb, err)
	require.NoError(s.tb, json.Unmarshal(credentials, &s.passwords))
	require.NoError(s.tb, copyTree(s.path("data"), os.DirFS(filepath.Join(template, "data")), nil))
	require.NoError(s.tb, s.owner.take(s.path("data")))
	s.runDatabase()
}

func (s *Site) runDatabase() *process {
	s.tb.Helper()
	server := s.run("mariadbd", s.tools.mariadbd, databaseOptions("--datadir="+s.path("data"), "--socket="+s.socket())...)
	s.await(server, func() bool { return answers("unix", s.socket()) })
	return server
}

func (s *Site) socket() string { return s.path("db.sock") }

// templateDir names the template for all that goes into it.
func (s *Site) templateDir() string {
	s.tb.Helper()
	hash := sha256.New()
	version, err := os.ReadFile(filepath.Join(s.options.WordPressDir, "wp-includes", "version.php"))
	require.NoError(s.tb, err)
	fmt.Fprintf(hash, "%s\n%s\n%v\n%v\n", version, s.script(s.tools.mariadbd, "--no-defaults", "--version"), s.options.Multisite, databaseOptions())
	for _, name := range []string{"install.php", "network.php", "wp-config.php.tmpl"} {
		content, err := fs.ReadFile(embedded, "files/"+name)
		require.NoError(s.tb, err)
		hash.Write(content)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir() // no home, as in a container
	}
	return filepath.Join(cache, "spillway-tests", "wordpress-"+hex.EncodeToString(hash.Sum(nil))[:16])
}

// makeTemplate installs WordPress into a new database and keeps that under
// target. Tests that do so at once each make their own; the first one's stays.
func (s *Site) makeTemplate(target string) {
	s.tb.Helper()
	s.host = "127.0.0.1"
	s.script(s.tools.installDB, databaseOptions("--datadir="+s.path("data"), "--auth-root-authentication-method=normal", "--skip-test-db")...)
	server := s.runDatabase()

	network := "0"
	if s.options.Multisite {
		network = "1"
	}
	config := s.path("www", "wp-config.php")
	s.writeConfig(config, "wp-config.php.tmpl", false)
	credentials := s.script(s.tools.php, s.path("scripts", "install.php"), s.path("www"), s.socket(), network)
	require.True(s.tb, json.Valid([]byte(credentials)), "installing WordPress: %s\n%s", credentials, s.Log())
	if s.options.Multisite {
		s.writeConfig(config, "wp-config.php.tmpl", true)
		s.script(s.tools.php, s.path("scripts", "network.php"), s.path("www"))
	}

	// Whole files only: a server that ends in order has written everything.
	require.NoError(s.tb, terminate(server.cmd.Process))
	select {
	case <-server.done:
	case <-time.After(startWithin):
		require.FailNow(s.tb, "mariadbd does not end", s.processLog("mariadbd"))
	}

	require.NoError(s.tb, os.MkdirAll(filepath.Dir(target), 0o700))
	unfinished, err := os.MkdirTemp(filepath.Dir(target), "unfinished")
	require.NoError(s.tb, err)
	defer os.RemoveAll(unfinished)
	require.NoError(s.tb, copyTree(filepath.Join(unfinished, "data"), os.DirFS(s.path("data")), nil))
	require.NoError(s.tb, os.WriteFile(filepath.Join(unfinished, "credentials.json"), []byte(credentials), 0o600))
	if err := os.Rename(unfinished, target); err != nil {
		_, missing := os.Stat(target)
		require.NoError(s.tb, missing, "keeping the template: %v", err)
	}

	// What the installation left behind is no news of this site.
	for _, path := range []string{s.path("data"), s.path("mails.jsonl"), s.path("php.log")} {
		require.NoError(s.tb, os.RemoveAll(path))
	}
}
