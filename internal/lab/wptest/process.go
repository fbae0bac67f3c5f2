package wptest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/stretchr/testify/require"
)

// startWithin is how long a server may take to answer; they take tenths of a
// second on an idle machine.
const startWithin = 60 * time.Second

// endWithin is how long php-fpm may take to end its workers.
const endWithin = 5 * time.Second

// tools are the programs that a site needs.
type tools struct {
	installDB, mariadbd, fpm, php, nginx string
}

// findTools says which Debian packages to install when something is missing.
func findTools(wordPressDir string) (tools, error) {
	var t tools
	for _, program := range []struct {
		path    *string
		pattern string
	}{
		{&t.installDB, "mariadb-install-db"},
		{&t.mariadbd, "mariadbd"},
		{&t.fpm, "php-fpm*"},
		{&t.php, "php"},
		{&t.nginx, "nginx"},
	} {
		// Debian keeps servers in sbin, which is not on a user's PATH.
		for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
			if found, _ := filepath.Glob(filepath.Join(dir, program.pattern)); len(found) > 0 {
				*program.path = found[len(found)-1]
				break
			}
		}
		if *program.path == "" {
			return tools{}, fmt.Errorf("%s is not on the PATH: install Debian's packages %s", program.pattern, Packages)
		}
	}
	if _, err := os.Stat(filepath.Join(wordPressDir, "wp-load.php")); err != nil {
		return tools{}, fmt.Errorf("no WordPress in %s: run make packages, or install Debian's packages %s", wordPressDir, Packages)
	}
	return t, nil
}

// process is a running server. Its output goes to NAME.log in the site's folder.
type process struct {
	name       string
	cmd        *exec.Cmd
	done       chan struct{} // closed when the server has ended
	hasWorkers bool
}

// command prepares a program to run as the site's owner, with none of the
// test's environment.
func (s *Site) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C.UTF-8", "HOME=" + s.dir, "TMPDIR=" + filepath.Join(s.dir, "tmp")}
	cmd.SysProcAttr = s.owner.attributes()
	return cmd
}

// run starts a server that ends with the test.
func (s *Site) run(name, program string, args ...string) *process {
	s.tb.Helper()
	output, err := os.OpenFile(s.logPath(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(s.tb, err)
	defer output.Close()
	cmd := s.command(context.Background(), program, args...)
	cmd.Stdout, cmd.Stderr = output, output
	require.NoError(s.tb, cmd.Start())
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // a server that was killed reports just that
	}()
	s.tb.Cleanup(p.kill)
	return p
}

// script runs a program to its end and returns what it prints.
func (s *Site) script(program string, args ...string) string {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	output, err := s.command(ctx, program, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		require.NoError(s.tb, err, "%s %s: %s%s\n%s", program, args, output, exit.Stderr, s.Log())
	}
	require.NoError(s.tb, err)
	return string(output)
}

// await waits until a server is ready. A server that ends instead fails the
// test with what it wrote.
func (s *Site) await(p *process, ready func() bool) {
	s.tb.Helper()
	deadline := time.NewTimer(startWithin)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !ready() {
		select {
		case <-p.done:
			require.FailNow(s.tb, p.name+" ended at once", s.processLog(p.name))
		case <-deadline.C:
			require.FailNow(s.tb, p.name+" does not answer", s.processLog(p.name))
		case <-poll.C:
		}
	}
}

// kill ends the server and its children at once; what they write is thrown away
// with the site. Killing it again does nothing.
func (p *process) kill() {
	select {
	case <-p.done:
		return
	default:
	}
	if p.hasWorkers {
		// php-fpm ends its workers as abruptly as a kill would, but also reaps
		// them, which in a container nobody else may do.
		_ = terminate(p.cmd.Process)
		select {
		case <-p.done:
			return
		case <-time.After(endWithin):
		}
	}
	_ = killGroup(p.cmd.Process)
	<-p.done
}

func (s *Site) logPath(name string) string { return filepath.Join(s.dir, name+".log") }

func (s *Site) processLog(name string) string {
	content, err := os.ReadFile(s.logPath(name))
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// answers says whether something accepts connections at an address.
func answers(network, address string) bool {
	connection, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return false
	}
	return connection.Close() == nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}
