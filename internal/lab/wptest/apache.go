package wptest

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"text/template"

	"github.com/stretchr/testify/require"
)

// Apache says how [Site.StartApache] serves the site.
type Apache struct {
	// Modules are those to enable beside what Debian's apache2 and php-fpm need,
	// such as "proxy_http".
	Modules []string
	// Server and Host are directives for the whole server and for the beginning
	// of the site's virtual host. ${APACHE_LOG_DIR} is [Site.ApacheDir].
	Server, Host string
	// AccessFile is what the site's .htaccess has above WordPress's own rules.
	AccessFile string
}

// apacheModules are what the site itself needs, of Debian's own choice.
var apacheModules = []string{"mpm_event", "authz_core", "alias", "dir", "env", "setenvif", "rewrite", "proxy", "proxy_fcgi"}

// wordPressRules are what WordPress writes into .htaccess, without pretty
// permalinks' folder.
const wordPressRules = `
# BEGIN WordPress
<IfModule mod_rewrite.c>
RewriteEngine On
RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]
RewriteBase /
RewriteRule ^index\.php$ - [L]
RewriteCond %{REQUEST_FILENAME} !-f
RewriteCond %{REQUEST_FILENAME} !-d
RewriteRule . /index.php [L]
</IfModule>
# END WordPress
`

// StartApache serves the site by Debian's Apache, too, on an address of the
// form 127.0.0.1:PORT, until the test ends. WordPress goes on to name itself by
// [Site.URL] and redirects pages there unless a plugin keeps it from doing so.
// Without apache2-bin the test is skipped, or fails when CI is set.
func (s *Site) StartApache(addr string, options Apache) {
	s.tb.Helper()
	const program = "/usr/sbin/apache2"
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("CI") != "" {
			s.tb.Fatal(err)
		}
		s.tb.Skipf("%s; install Debian's package apache2-bin", err)
	}
	folder := s.ApacheDir(addr)
	require.NoError(s.tb, os.Mkdir(folder, 0o755))
	name := filepath.Base(folder)
	accessFile := ".htaccess-" + name
	require.NoError(s.tb, os.WriteFile(s.path("www", accessFile), []byte(options.AccessFile+wordPressRules), 0o644))

	source, err := template.ParseFS(embedded, "files/apache.conf.tmpl")
	require.NoError(s.tb, err)
	modules := apacheModules
	for _, module := range options.Modules {
		if !slices.Contains(modules, module) {
			modules = append(slices.Clone(modules), module)
		}
	}
	var config bytes.Buffer
	require.NoError(s.tb, source.Execute(&config, map[string]any{
		"Dir": s.dir, "Folder": folder, "Addr": addr, "Modules": modules, "AccessFile": accessFile, "Options": options,
	}))
	path := filepath.Join(folder, "apache.conf")
	require.NoError(s.tb, os.WriteFile(path, config.Bytes(), 0o644))
	require.NoError(s.tb, s.owner.take(folder))
	server := s.run(name, program, "-DFOREGROUND", "-f", path)
	server.hasWorkers = true
	s.await(server, func() bool { return answers("tcp", addr) })
	s.tb.Cleanup(func() {
		if !s.tb.Failed() {
			return
		}
		if content, err := os.ReadFile(filepath.Join(folder, "error.log")); err == nil {
			s.tb.Logf("Apache's error log:\n%s", content)
		}
	})
}

// ApacheDir is the folder of the Apache at an address, with its logs.
func (s *Site) ApacheDir(addr string) string {
	s.tb.Helper()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(s.tb, err)
	return s.path("apache-" + port)
}
