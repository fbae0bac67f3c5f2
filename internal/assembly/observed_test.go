package assembly

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"spillway/internal/admin/comparisons"
	"spillway/internal/config"
	"spillway/internal/contact"
	"spillway/internal/lab/freeport"
	"spillway/internal/lab/logtest"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
)

const (
	observedKey   = "observed-access-key"
	observedToken = "observed-crm-token"
)

// receiver takes spans as an OpenTelemetry collector does.
type receiver struct {
	mu    sync.Mutex
	spans map[string][]*spans.Span // by program
	raw   strings.Builder
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	var batch collector.ExportTraceServiceRequest
	if err != nil || request.URL.Path != "/v1/traces" || proto.Unmarshal(body, &batch) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.raw.Write(body)
	for _, resource := range batch.GetResourceSpans() {
		program := ""
		for _, attribute := range resource.GetResource().GetAttributes() {
			if attribute.GetKey() == "service.name" {
				program = attribute.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			r.spans[program] = append(r.spans[program], scope.GetSpans()...)
		}
	}
}

// observed is an ingest server and a worker in this process, which have no more
// rights in Redis than the docs ask for.
type observed struct {
	webhooks, admin, worker string
	logs                    *logtest.Log
	redis                   *redistest.Server
	stop                    func()
}

func startObserved(t *testing.T) *observed {
	t.Helper()
	crm := sandbox.NewCRM(sandbox.CRMOptions{Token: observedToken})
	crm.Put("1", map[string]any{"email": "someone@example.org", "first_name": "Somename"}, []int{24})
	return startObservedWith(t, crm, "SPILLWAY_CRM_TOKEN="+observedToken)
}

// startObservedWith is startObserved with another CRM and the settings for it.
func startObservedWith(t *testing.T, crm http.Handler, change ...string) *observed {
	t.Helper()
	site := sandbox.NewSite(sandbox.SiteOptions{StartCost: time.Millisecond, ContactCost: time.Millisecond})
	crmServer, siteServer := httptest.NewServer(crm), httptest.NewServer(site)
	t.Cleanup(crmServer.Close)
	t.Cleanup(siteServer.Close)
	user, password := site.Credentials()
	free := func() string {
		addr, err := freeport.Addr()
		require.NoError(t, err)
		return addr
	}
	o := &observed{webhooks: free(), admin: free(), worker: free(), logs: &logtest.Log{}, redis: redistest.Start(t)}
	environ := append([]string{
		"SPILLWAY_REDIS_URL=" + documentedUser(t, o.redis), "SPILLWAY_ACCESS_KEYS=" + observedKey,
		"SPILLWAY_CRM_URL=" + crmServer.URL, "SPILLWAY_CRM_TOKEN_URL=" + crmServer.URL + "/oauth/token",
		"SPILLWAY_SITE_URL=" + siteServer.URL, "SPILLWAY_SITE_USER=" + user, "SPILLWAY_SITE_APP_PASSWORD=" + password,
		"SPILLWAY_INGEST_ADDR=" + o.webhooks, "SPILLWAY_ADMIN_ADDR=" + o.admin, "SPILLWAY_WORKER_ADDR=" + o.worker,
	}, change...)
	ctx, cancel := context.WithCancel(t.Context())
	var programs sync.WaitGroup
	for role, run := range map[config.Role]Program{config.Ingest: Ingest, config.Worker: Worker} {
		settings, err := config.Load(role, nil, environ)
		require.NoError(t, err)
		log := zerolog.New(o.logs).Level(zerolog.DebugLevel)
		programs.Go(func() {
			if err := run(ctx, settings, log); err != nil {
				log.Error().Err(err).Msg("a program failed")
			}
		})
	}
	o.stop = sync.OnceFunc(func() {
		cancel()
		programs.Wait()
		require.NotContains(t, o.logs.String(), "NOPERM")
	})
	t.Cleanup(o.stop)
	for _, addr := range []string{o.admin, o.worker} {
		polltest.Until(t, 30*time.Second, func() bool {
			status, _, _ := o.get(t, "http://"+addr+"/readyz")
			return status == http.StatusOK
		}, fmt.Sprintf("%s is not ready", addr))
	}
	return o
}

// documentedUser makes the user of Redis that docs/reliability.md proposes. It returns
// the URL with it.
func documentedUser(t *testing.T, server *redistest.Server) (url string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "reliability.md"))
	require.NoError(t, err)
	line := regexp.MustCompile(`(?m)^ACL SETUSER spillway .*>PASSWORD .*$`).FindString(string(page))
	require.NotEmpty(t, line)
	var words []any
	for _, word := range strings.Fields(line) {
		words = append(words, word)
	}
	require.NoError(t, server.Client().Do(t.Context(), words...).Err())
	return strings.Replace(server.URL(), "redis://", "redis://spillway:PASSWORD@", 1)
}

func (o *observed) get(t *testing.T, address string) (status int, header http.Header, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header, string(text)
}

// webhook sends one for contact 1 and waits until the contact is synced. It
// returns the webhook's request id.
func (o *observed) webhook(t *testing.T) (requestID string) {
	t.Helper()
	status, header, body := o.get(t, "http://"+o.webhooks+"/?wpf_action=add&contact_id=1&access_key="+observedKey)
	require.Equal(t, http.StatusOK, status, body)
	polltest.Until(t, 30*time.Second, func() bool {
		_, _, body := o.get(t, "http://"+o.admin+"/api/v1/contacts/1")
		return strings.Contains(body, `"state":"idle"`) && strings.Contains(body, `"synced"`)
	}, "the contact is not synced")
	return header.Get("X-Request-Id")
}

func TestEveryMetricOfTheRulesAndTheDashboardExists(t *testing.T) {
	t.Parallel()
	o := startObserved(t)
	o.webhook(t)
	store := comparisons.New(o.redis.Client())
	for range 2 { // the second one has one before it
		compared := comparisons.Comparison{Site: "default", Began: time.Now(), Ended: time.Now(), Differences: map[string]int{"tags_missing": 1}}
		require.NoError(t, store.Write(t.Context(), compared))
	}
	exposed := ""
	for _, addr := range []string{o.admin, o.worker} {
		status, _, body := o.get(t, "http://"+addr+"/metrics")
		require.Equal(t, http.StatusOK, status)
		exposed += body
	}
	for _, name := range used(t) {
		require.Regexp(t, `(?m)^`+name+`(\{| )`, exposed, "neither ingest nor a worker has the metric %s", name)
	}
	for _, secret := range []string{observedKey, observedToken, "someone@", "Somename"} {
		require.NotContains(t, exposed, secret)
	}
}

func TestARequestIDLeadsFromTheWebhookToItsPass(t *testing.T) {
	t.Parallel()
	o := startObserved(t)
	id := o.webhook(t)
	o.stop()
	var lines []string
	for line := range strings.Lines(o.logs.String()) {
		if strings.Contains(line, fmt.Sprintf(`"request_id":%q`, id)) {
			lines = append(lines, line)
		}
	}
	require.Len(t, lines, 2, o.logs)
	if strings.Contains(lines[0], "pass ended") { // the answer may have waited for it
		slices.Reverse(lines)
	}
	require.Contains(t, lines[0], `"level":"debug"`)
	require.Contains(t, lines[0], `"outcome":"accepted"`)
	require.Contains(t, lines[1], `"level":"info"`)
	require.Contains(t, lines[1], `"outcome":"created"`)
	for _, line := range lines {
		require.Contains(t, line, `"contact":"default:1"`)
		require.Contains(t, line, `"action":"add"`)
		require.Contains(t, line, `"took_ms":`)
	}
}

//nolint:paralleltest // it sets the environment
func TestOneTraceLeadsFromTheWebhookToTheSite(t *testing.T) {
	received := &receiver{spans: make(map[string][]*spans.Span)}
	server := httptest.NewServer(received)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	o := startObserved(t)
	id := o.webhook(t)
	o.stop() // sends what was not sent yet

	received.mu.Lock()
	defer received.mu.Unlock()
	ingest, worker := received.spans["spillway-ingest"], received.spans["spillway-worker"]
	require.Len(t, ingest, 1)
	root := ingest[0]
	require.Equal(t, "webhook", root.GetName())
	require.Empty(t, root.GetParentSpanId())
	byName := make(map[string]*spans.Span)
	for _, span := range worker {
		require.Equal(t, root.GetTraceId(), span.GetTraceId(), "%s is of another trace", span.GetName())
		byName[span.GetName()] = span
	}
	for name, parent := range map[string]*spans.Span{
		"pass": root, "crm contact": byName["pass"], "crm tags": byName["pass"], "site store": byName["pass"], "site request": byName["site store"],
	} {
		require.Contains(t, byName, name)
		require.Equal(t, parent.GetSpanId(), byName[name].GetParentSpanId(), "the parent of %s", name)
	}
	for _, span := range []*spans.Span{root, byName["pass"]} {
		attributes := make(map[string]string)
		for _, attribute := range span.GetAttributes() {
			attributes[attribute.GetKey()] = attribute.GetValue().GetStringValue()
		}
		require.Equal(t, id, attributes["spillway.request_id"])
		require.Equal(t, "add", attributes["spillway.action"])
		require.Equal(t, contact.DefaultSite, attributes["spillway.site"])
	}
	for _, secret := range []string{observedKey, observedToken, "someone@", "Somename", "access_key", "http://"} {
		require.NotContains(t, received.raw.String(), secret)
	}
}

// A refresh token that the CRM does not take is shown where operators look, and
// neither the token's route nor the CRM is asked over and over.
func TestARefusedRefreshTokenIsAnAlarmThatDoesNotLoop(t *testing.T) {
	t.Parallel()
	const secret, token = "observed-client-secret", "observed-spent-refresh-token"
	crm := sandbox.NewCRM(sandbox.CRMOptions{OAuth: &sandbox.OAuthOptions{ClientID: "1", ClientSecret: secret, RefreshToken: "another"}})
	var refreshes, others atomic.Int32
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oauth/token" {
			refreshes.Add(1)
		} else {
			others.Add(1)
		}
		crm.ServeHTTP(w, r)
	})
	o := startObservedWith(t, counted, "SPILLWAY_CRM_CLIENT_ID=1", "SPILLWAY_CRM_CLIENT_SECRET="+secret, "SPILLWAY_CRM_REFRESH_TOKEN="+token,
		"SPILLWAY_SECRET_KEY="+base64.StdEncoding.EncodeToString(make([]byte, 32)))
	for id := range 50 {
		status, _, body := o.get(t, fmt.Sprintf("http://%s/?wpf_action=update&contact_id=%d&access_key=%s", o.webhooks, id+1, observedKey))
		require.Equal(t, http.StatusOK, status, body)
	}
	var stats string
	polltest.Until(t, 30*time.Second, func() bool {
		_, _, stats = o.get(t, "http://"+o.admin+"/api/v1/stats")
		return strings.Contains(stats, "refused the refresh token")
	}, "the statistics say nothing")
	require.Contains(t, stats, "SPILLWAY_CRM_REFRESH_TOKEN", "they say what to do")
	for _, addr := range []string{o.admin, o.worker} {
		polltest.Until(t, 10*time.Second, func() bool {
			status, _, body := o.get(t, "http://"+addr+"/readyz")
			return status == http.StatusOK && strings.Contains(body, `"crm":"open: `)
		}, "/readyz says nothing")
	}
	_, _, metrics := o.get(t, "http://"+o.admin+"/metrics")
	require.Regexp(t, `(?m)^spillway_breaker_state\{.*state="open".*system="crm".*\} 1$`, metrics)

	// The breaker's first probe is due a good while after this.
	for range 20 {
		o.get(t, "http://"+o.webhooks+"/?wpf_action=update&contact_id=99&access_key="+observedKey)
	}
	require.Equal(t, int32(1), refreshes.Load())
	require.Zero(t, others.Load(), "without a token there is nothing to ask")
	o.stop()
	for _, text := range []string{stats, metrics, o.logs.String()} {
		require.NotContains(t, text, secret)
		require.NotContains(t, text, token)
	}
}
