package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/freeport"
)

// process is a program under measurement.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string // path
	done chan struct{}
}

// launch starts a program with nothing but env in its environment.
func (s *stage) launch(name, program string, env map[string]string, args ...string) *process {
	log, err := os.CreateTemp(s.dir, name+"-*.log")
	require.NoError(s, err)
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for key, value := range env {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(s, cmd.Start(), "starting %s", name)
	p := &process{name: name, cmd: cmd, log: log.Name(), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // how it ended stands in its log
	}()
	s.Cleanup(p.kill)
	return p
}

// stop asks the program to end, and waits.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(60 * time.Second):
		p.kill()
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// await waits until a program answers at a URL, or ended.
func (s *stage) await(ctx context.Context, p *process, url string) {
	s.eventually(ctx, 30*time.Second, 2*time.Millisecond, p.name+" does not answer", func() bool {
		select {
		case <-p.done:
			text, _ := os.ReadFile(p.log)
			s.Fatal(p.name, " ended: ", strings.TrimSpace(string(text)))
		default:
		}
		return s.get(ctx, url) != nil
	})
}

// get returns the body of a 200, else nil.
func (s *stage) get(ctx context.Context, url string) []byte {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(s, err)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return nil
	}
	return body
}

func (s *stage) freeAddr() string {
	addr, err := freeport.Addr()
	require.NoError(s, err)
	return addr
}

// accessKey is what the generator sends and ingest accepts.
const accessKey = "bench-access-key-51d0"

// ingest starts the ingest server and returns it with its two addresses.
func (s *stage) ingest(ctx context.Context, redisURL string, change map[string]string) (p *process, webhooks, admin string) {
	webhooks, admin = s.freeAddr(), s.freeAddr()
	env := map[string]string{
		"SPILLWAY_REDIS_URL": redisURL, "SPILLWAY_ACCESS_KEYS": accessKey,
		"SPILLWAY_INGEST_ADDR": webhooks, "SPILLWAY_ADMIN_ADDR": admin,
	}
	for key, value := range change {
		env[key] = value
	}
	p = s.launch("ingest", filepath.Join(s.bin, "ingest"), env)
	s.await(ctx, p, "http://"+webhooks+"/healthz")
	return p, webhooks, admin
}

// target is where a worker reads and stores.
type target struct {
	redisURL, crmURL, siteURL string
	user, appPassword         string
}

// worker starts a worker and waits until it is up.
func (s *stage) worker(ctx context.Context, t target, change map[string]string) *process {
	return s.workerOf(ctx, map[string]string{
		"SPILLWAY_REDIS_URL": t.redisURL,
		"SPILLWAY_CRM_URL":   t.crmURL, "SPILLWAY_CRM_TOKEN": crmToken,
		"SPILLWAY_SITE_URL": t.siteURL, "SPILLWAY_SITE_USER": t.user, "SPILLWAY_SITE_APP_PASSWORD": t.appPassword,
		"SPILLWAY_CREATION_LIMIT": "0", "SPILLWAY_SECRET_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
	}, change)
}

// workerOf starts a worker with nothing but these settings.
func (s *stage) workerOf(ctx context.Context, settings, change map[string]string) *process {
	health := s.freeAddr()
	env := map[string]string{"SPILLWAY_WORKER_ADDR": health}
	maps.Copy(env, settings)
	maps.Copy(env, change)
	p := s.launch("worker", filepath.Join(s.bin, "worker"), env)
	s.await(ctx, p, "http://"+health+"/healthz")
	return p
}

// cpu is the processor time that a process has used.
func cpu(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name before ")" may hold spaces.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	return time.Duration(user+system) * tick
}

// memoryOf reads a line of /proc/PID/status, such as VmRSS, in MB.
func memoryOf(pid int, name string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kilobytes, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kilobytes / 1024
		}
	}
	return 0
}

// part runs one of the hidden parts of this program to its end, with a JSON
// value on its standard input and one from its output.
func (s *stage) part(ctx context.Context, name string, in, out any) {
	input, err := json.Marshal(in)
	require.NoError(s, err)
	cmd := exec.CommandContext(ctx, s.options.Self, PartCommand, name)
	cmd.Stdin = bytes.NewReader(input)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	output, err := cmd.Output()
	require.NoError(s, err, "running %s: %s", name, problem.String())
	require.NoError(s, json.Unmarshal(output, out), "running %s", name)
}
