package torture

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// process is a place in which a program runs, one life after the other.
type process struct {
	name string
	path string
	args []string
	env  []string
	log  string // file, over all lives

	mu       sync.Mutex // held for moments: who calls whom is asked all the time
	cmd      *exec.Cmd
	ended    chan struct{}
	stopping bool // it was told to end, and is waited for
	lives    int
	frozen   time.Time     // since when; zero: not
	froze    time.Duration // of this life, the longest it stood still
}

func newProcess(name, path string, args, env []string, dir string) *process {
	return &process{name: name, path: path, args: args, env: env, log: filepath.Join(dir, name+".log")}
}

// start begins a life. A process that runs is left alone.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() || p.stopping {
		return nil
	}
	file, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	defer file.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, p.env...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = file, file, ownGroup()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	ended := make(chan struct{})
	p.cmd, p.ended, p.frozen, p.froze = cmd, ended, time.Time{}, 0
	p.lives++
	go func() {
		_ = cmd.Wait() // the exit code is in cmd.ProcessState
		close(ended)
	}()
	return nil
}

func (p *process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// died reports a life that nobody ended.
func (p *process) died() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil && !p.running() && !p.stopping
}

// kill ends the life at once, as a crash would.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	p.cmd = nil
}

// terminate asks for the end of the life and waits for it; meanwhile the process
// ends its passes, calls and all. Whoever does not stop in time, or stops with an
// error, is an error.
func (p *process) terminate() error {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	if !p.running() {
		p.mu.Unlock()
		return nil
	}
	p.stopping = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cmd, p.stopping = nil, false
	}()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping %s: %w", p.name, err)
	}
	select {
	case <-ended:
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("%s ended with code %d after SIGTERM; its log is %s", p.name, code, p.log)
		}
		return nil
	case <-time.After(drainTime):
		_ = cmd.Process.Kill()
		<-ended
		return fmt.Errorf("%s did not stop within %v after SIGTERM", p.name, drainTime)
	}
}

// freeze stops the process where it stands, as a machine without memory would.
func (p *process) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() && p.frozen.IsZero() && p.cmd.Process.Signal(syscall.SIGSTOP) == nil {
		p.frozen = time.Now()
	}
}

func (p *process) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen.IsZero() {
		return
	}
	p.froze = max(p.froze, time.Since(p.frozen))
	p.frozen = time.Time{}
	if p.running() {
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
	}
}

// stoodStill is the longest time that this life was frozen.
func (p *process) stoodStill() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.froze
}

// life names the process that runs here now.
func (p *process) life() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%s/%d", p.name, p.lives)
}

var errNoRedis = errors.New("redis-server is not on the PATH: install Debian's package redis-server")
