package wptest

import (
	"net/http"
	"os"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/freeport"
)

// startNginx finds the site's address. Between the choice of a free port and
// nginx listening on it another process can take it; nginx then ends, and
// another port is tried.
func (s *Site) startNginx() {
	s.tb.Helper()
	config := s.path("nginx.conf")
	for attempt := 1; ; attempt++ {
		s.host = freeAddress(s)
		s.writeConfig(config, "nginx.conf.tmpl", s.options.Multisite)
		s.nginx = s.run("nginx", s.tools.nginx, "-e", "stderr", "-p", s.dir, "-c", config)
		s.nginx.hasWorkers = s.options.NginxReloads
		if s.listens(s.nginx) {
			return
		}
		s.nginx.kill()
		require.Less(s.tb, attempt, 5, "nginx does not start: %s", s.processLog("nginx"))
	}
}

// listens waits until the address answers as this site's nginx does. It says
// no once that nginx has ended.
func (s *Site) listens(server *process) bool {
	client := http.Client{Timeout: time.Second}
	deadline := time.Now().Add(startWithin)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for time.Now().Before(deadline) {
		response, err := client.Get(s.URL() + "/wptest-ready")
		if err == nil {
			_ = response.Body.Close()
			if response.Header.Get("X-Wptest") == s.dir {
				return true
			}
		}
		select {
		case <-server.done:
			return false
		case <-poll.C:
		}
	}
	return false
}

// startChecks makes the copied database this site's own, activates its plugins
// and starts the process behind [Site.PHP].
func (s *Site) startChecks() {
	s.tb.Helper()
	s.writeConfig(s.path("www", "wp-config.php"), "wp-config.php.tmpl", s.options.Multisite)
	s.writeConfig(s.path("php-fpm.conf"), "php-fpm.conf.tmpl", s.options.Multisite)
	arguments := []string{s.path("scripts", "checks.php"), s.path("www"), s.checksSocket(), s.socket(), s.host}
	server := s.run("checks", s.tools.php, append(arguments, s.plugins()...)...)
	s.await(server, func() bool {
		_, err := os.Stat(s.checksSocket())
		return err == nil
	})
	s.ForgetWPFusionCalls() // of the activation
}

func (s *Site) checksSocket() string { return s.path("checks.sock") }

func freeAddress(s *Site) string {
	s.tb.Helper()
	addr, err := freeport.Addr()
	require.NoError(s.tb, err)
	return addr
}
