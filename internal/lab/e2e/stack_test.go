package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/freeport"
	"spillway/internal/lab/logtest"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/lab/wptest"
)

const (
	accessKey = "e2e-access-key-7f3a"
	crmToken  = "e2e-crm-token-91bc"
	secretKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
)

// binaries builds the programs once per run of the tests.
var binaries = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "spillway-e2e-")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir, "spillway/cmd/ingest", "spillway/cmd/worker").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := binaries(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// process is a running program.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *logtest.Log
	done chan error
}

// launch starts a program with nothing but env in its environment.
func launch(t *testing.T, name string, env map[string]string) *process {
	t.Helper()
	dir, err := binaries()
	require.NoError(t, err)
	p := &process{name: name, log: &logtest.Log{}, done: make(chan error, 1)}
	p.cmd = exec.Command(filepath.Join(dir, name))
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for key, value := range env {
		p.cmd.Env = append(p.cmd.Env, key+"="+value)
	}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	require.NoError(t, p.cmd.Start())
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, p.log)
		}
	})
	return p
}

// stop asks the process to stop and requires that it does so well.
func (p *process) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-p.done:
		require.NoError(t, err, "%s did not stop cleanly", p.name)
	case <-time.After(60 * time.Second):
		require.Fail(t, p.name+" did not stop")
	}
}

// stack is everything, running.
type stack struct {
	crm            *sandbox.CRM
	site           *wptest.Site
	redis          *redistest.Server
	ingest, worker *process
	webhooks       string // URL
	admin          string // URL
	env            map[string]string
}

// start runs the whole stack with some settings changed.
func start(t *testing.T, change map[string]string) *stack {
	t.Helper()
	return startOn(t, wptest.Options{}, change)
}

// startOn is start with a WordPress of some kind.
func startOn(t *testing.T, wordPress wptest.Options, change map[string]string) *stack {
	t.Helper()
	return startBefore(t, wptest.Start(t, wordPress), change)
}

// startBefore is start with a WordPress that runs already.
func startBefore(t *testing.T, site *wptest.Site, change map[string]string) *stack {
	t.Helper()
	s := &stack{
		crm:   sandbox.NewCRM(sandbox.CRMOptions{Token: crmToken, Latency: 5 * time.Millisecond}),
		site:  site,
		redis: redistest.Start(t),
	}
	crm := httptest.NewServer(s.crm)
	t.Cleanup(crm.Close)
	user, appPassword := s.site.Credentials()
	webhooks, admin, health := freeAddr(t), freeAddr(t), freeAddr(t)
	if asked := change["SPILLWAY_INGEST_ADDR"]; asked != "" {
		webhooks = asked
	}
	s.webhooks, s.admin = "http://"+webhooks, "http://"+admin
	s.env = map[string]string{
		"SPILLWAY_REDIS_URL":             s.redis.URL(),
		"SPILLWAY_ACCESS_KEYS":           "an-older-access-key," + accessKey,
		"SPILLWAY_CRM_URL":               crm.URL,
		"SPILLWAY_CRM_TOKEN":             crmToken,
		"SPILLWAY_CRM_RATE":              "1000",
		"SPILLWAY_SITE_URL":              s.site.URL(),
		"SPILLWAY_SITE_USER":             user,
		"SPILLWAY_SITE_APP_PASSWORD":     appPassword,
		"SPILLWAY_FIELDS":                "user_email=email,first_name=first_name,last_name=last_name,user_login=username,user_pass=own_password,billing_company=company,version=version",
		"SPILLWAY_RETURN_PASSWORD_FIELD": "wp_password",
		"SPILLWAY_RETURN_FIELDS":         "user_login=wp_login,user_id=wp_id",
		"SPILLWAY_SECRET_KEY":            secretKey,
		"SPILLWAY_INGEST_ADDR":           webhooks,
		"SPILLWAY_ADMIN_ADDR":            admin,
		"SPILLWAY_WORKER_ADDR":           health,
		"SPILLWAY_LOG_LEVEL":             "debug",
		"SPILLWAY_ANSWER_WAIT":           "0", // whoever wants to wait says so
	}
	for key, value := range change {
		s.env[key] = value
	}
	s.ingest, s.worker = launch(t, "ingest", s.env), launch(t, "worker", s.env)
	for _, url := range []string{s.webhooks + "/healthz", s.admin + "/readyz", "http://" + health + "/readyz"} {
		require.Eventually(t, func() bool {
			status, _ := get(t.Context(), url)
			return status == http.StatusOK
		}, 30*time.Second, 20*time.Millisecond, "%s is not well", url)
	}
	return s
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := freeport.Addr()
	require.NoError(t, err)
	return addr
}

func get(ctx context.Context, url string) (status int, body string) {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second) // an answer may wait for 30
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, ""
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// webhook sends one as the CRM does and requires that it is accepted.
func (s *stack) webhook(t *testing.T, action string, id int, more ...string) {
	t.Helper()
	status, body := s.send(t, action, id, more...)
	require.Equal(t, http.StatusOK, status, body)
}

// ask sends a webhook whose sender waits until it is carried out.
func (s *stack) ask(t *testing.T, action string, id int, more ...string) (status int, body string) {
	t.Helper()
	status, body = s.send(t, action, id, append(more, "wait", "30")...)
	require.NotContains(t, body, `"status":"queued"`)
	return status, body
}

func (s *stack) send(t *testing.T, action string, id int, more ...string) (status int, body string) {
	t.Helper()
	query := url.Values{"wpf_action": {action}, "access_key": {accessKey}, "contact_id": {strconv.Itoa(id)}}
	for i := 0; i < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	return get(t.Context(), s.webhooks+"/?"+query.Encode())
}

// state returns a contact's state by the admin API.
func (s *stack) state(t *testing.T, id int) (state, code string) {
	t.Helper()
	status, body := get(t.Context(), fmt.Sprintf("%s/api/v1/contacts/%d", s.admin, id))
	require.Equal(t, http.StatusOK, status, body)
	var view struct {
		State     string
		LastError struct{ Code string } `json:"last_error"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &view))
	return view.State, view.LastError.Code
}

// settle waits until a contact has the state.
func (s *stack) settle(t *testing.T, id int, want string) (code string) {
	t.Helper()
	var state string
	polltest.Until(t, 60*time.Second, func() bool {
		state, code = s.state(t, id)
		return state == want
	}, fmt.Sprintf("contact %d never became %s", id, want))
	return code
}

// stats returns the counters of the admin API.
func (s *stack) stats(t *testing.T) map[string]int {
	t.Helper()
	status, body := get(t.Context(), s.admin+"/api/v1/stats")
	require.Equal(t, http.StatusOK, status, body)
	var stats map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(body), &stats))
	counters := make(map[string]int)
	for name, value := range stats {
		var n int
		if json.Unmarshal(value, &n) == nil { // the rest are no counters
			counters[name] = n
		}
	}
	return counters
}

func (s *stack) logs() string { return s.ingest.log.String() + s.worker.log.String() }

// put makes or changes a contact of the CRM.
func (s *stack) put(id int, fields map[string]any, tags ...int) {
	s.crm.Put(strconv.Itoa(id), fields, tags)
}

// field returns a contact's field in the CRM.
func (s *stack) field(t *testing.T, id int, name string) string {
	t.Helper()
	record, ok := s.crm.Contact(strconv.Itoa(id))
	require.True(t, ok)
	value, _ := record[name].(string)
	return value
}

func email(id int) string { return fmt.Sprintf("contact%d@example.org", id) }

func containsAny(text string, needles ...string) string {
	for _, needle := range needles {
		if needle != "" && strings.Contains(text, needle) {
			return needle
		}
	}
	return ""
}
