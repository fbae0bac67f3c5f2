package ingest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/ingest"
	"spillway/internal/lab/logtest"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
)

const (
	key   = "k3y-of-the-tests"
	query = "/?access_key=" + key + "&"
)

// submit is a Submitter of one function.
type submit func(context.Context, contact.Ref, contact.Intent, contact.Receipt) (bool, error)

func (s submit) Submit(ctx context.Context, ref contact.Ref, intent contact.Intent, receipt contact.Receipt) (bool, error) {
	return s(ctx, ref, intent, receipt)
}

func accept(context.Context, contact.Ref, contact.Intent, contact.Receipt) (bool, error) {
	return false, nil
}

type bundle struct {
	server   *ingest.Server
	log      *logtest.Log
	registry *prometheus.Registry
}

func setup(t testing.TB, submitter ingest.Submitter) *bundle {
	t.Helper()
	b := &bundle{log: &logtest.Log{}, registry: prometheus.NewRegistry()}
	b.server = serving(t, ingest.Options{
		Registerer: b.registry, Log: zerolog.New(b.log).Level(zerolog.TraceLevel),
	}, ingest.Site{Pending: submitter})
	return b
}

// serving returns a server for one site, which has the key of the tests unless it
// says otherwise.
func serving(t testing.TB, options ingest.Options, site ingest.Site) *ingest.Server {
	t.Helper()
	server := ingest.New(options)
	site.Name = contact.DefaultSite
	if site.Keys == nil {
		site.Keys = []string{key}
	}
	require.NoError(t, server.SetSites([]ingest.Site{site}))
	return server
}

// call sends a request, with a form as its body if that is not empty.
func (b *bundle) call(method, target, form string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(form))
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return b.do(r)
}

func (b *bundle) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	b.server.Handler().ServeHTTP(w, r)
	return w
}

// code returns the code of an error answer.
func code(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	var answer struct {
		Error struct{ Code, Message string }
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer), w.Body.String())
	require.NotEmpty(t, answer.Error.Message)
	return answer.Error.Code
}

func TestAcceptedWebhookIsSubmittedAndAnswered(t *testing.T) {
	t.Parallel()

	type submission struct {
		ref    contact.Ref
		intent contact.Intent
	}
	var got []submission
	b := setup(t, submit(func(ctx context.Context, ref contact.Ref, intent contact.Intent, _ contact.Receipt) (bool, error) {
		deadline, ok := ctx.Deadline()
		require.True(t, ok, "a submission needs a deadline")
		require.LessOrEqual(t, time.Until(deadline), 3*time.Second)
		got = append(got, submission{ref, intent})
		return len(got) > 1, nil
	}))

	w := b.call(http.MethodGet, query+"wpf_action=update&contact_id=123", "")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	require.JSONEq(t, `{"status":"queued","contact_id":"123","action":"update","coalesced":false}`, w.Body.String())

	w = b.call(http.MethodPost, "/old/endpoint.php", "wpf_action=ADD&role=customer&send_notification=true&contact_id=123&access_key="+key)
	require.Equal(t, http.StatusOK, w.Code)
	require.JSONEq(t, `{"status":"queued","contact_id":"123","action":"add","coalesced":true}`, w.Body.String())

	b.call(http.MethodGet, query+"wpf_action=test", "")
	b.call(http.MethodGet, query+"wpf_action=of-anyones-making", "")
	b.call(http.MethodGet, "/?access_key=wrong&wpf_action=update&contact_id=1", "")

	ref := contact.Ref{Site: contact.DefaultSite, ID: "123"}
	require.Equal(t, []submission{
		{ref, contact.Intent{Action: contact.Update}},
		{ref, contact.Intent{Action: contact.Add, Role: "customer", Notify: true}},
	}, got)
	require.NoError(t, testutil.GatherAndCompare(b.registry, strings.NewReader(`
# HELP spillway_webhooks_received_total Webhooks by site (none: no key told it), action (none: of a refused one) and outcome: accepted, coalesced, test, or the code of the refusal.
# TYPE spillway_webhooks_received_total counter
spillway_webhooks_received_total{action="add",outcome="accepted",site="default"} 0
spillway_webhooks_received_total{action="add",outcome="coalesced",site="default"} 1
spillway_webhooks_received_total{action="none",outcome="invalid_access_key",site="default"} 1
spillway_webhooks_received_total{action="none",outcome="too_many_failures",site="default"} 0
spillway_webhooks_received_total{action="none",outcome="unavailable",site="default"} 0
spillway_webhooks_received_total{action="none",outcome="unknown_action",site="default"} 1
spillway_webhooks_received_total{action="test",outcome="test",site="default"} 1
spillway_webhooks_received_total{action="update",outcome="accepted",site="default"} 1
spillway_webhooks_received_total{action="update",outcome="coalesced",site="default"} 0
spillway_webhooks_received_total{action="update_tags",outcome="accepted",site="default"} 0
spillway_webhooks_received_total{action="update_tags",outcome="coalesced",site="default"} 0
`), "spillway_webhooks_received_total"))
}

func TestTestIsAnsweredWithoutASubmission(t *testing.T) {
	t.Parallel()

	w := setup(t, nil).call(http.MethodGet, query+"wpf_action=test", "")
	require.Equal(t, http.StatusOK, w.Code)
	require.JSONEq(t, `{"success":true}`, w.Body.String())
}

func TestRefusalsHaveAStatusAndACode(t *testing.T) {
	t.Parallel()

	b := setup(t, nil) // a submission would panic
	for name, c := range map[string]struct {
		method, target, form string
		status               int
		code                 string
	}{
		"no key":              {"GET", "/?wpf_action=update&contact_id=5", "", 403, "invalid_access_key"},
		"wrong key":           {"GET", "/?wpf_action=update&contact_id=5&access_key=x", "", 403, "invalid_access_key"},
		"wrong key, bad rest": {"GET", "/?wpf_action=x&contact_id=x&access_key=x", "", 403, "invalid_access_key"},
		"wrong key for test":  {"GET", "/?wpf_action=test&access_key=x", "", 403, "invalid_access_key"},
		"nothing at all":      {"GET", "/", "", 403, "invalid_access_key"},
		"no action":           {"GET", query + "contact_id=5", "", 400, "missing_action"},
		"unknown action":      {"GET", query + "contact_id=5&wpf_action=delete", "", 400, "unknown_action"},
		"no contact":          {"POST", query, "wpf_action=update", 400, "missing_contact_id"},
		"negative contact":    {"GET", query + "wpf_action=update&contact_id=-5", "", 400, "invalid_contact_id"},
		"zero":                {"GET", query + "wpf_action=update&contact_id=0", "", 400, "invalid_contact_id"},
		"repeated contact":    {"GET", query + "wpf_action=update&contact_id=5&contact_id=x", "", 400, "invalid_contact_id"},
		"non-UTF-8 contact":   {"GET", query + "wpf_action=update&contact_id=%FF", "", 400, "invalid_contact_id"},
		"10,000 characters":   {"GET", query + "wpf_action=update&contact_id=" + strings.Repeat("1", 10_000), "", 400, "invalid_contact_id"},
		"line breaks":         {"GET", query + "wpf_action=update&contact_id=5%0D%0ASet-Cookie:%20a=b", "", 400, "invalid_contact_id"},
		"bad role":            {"GET", query + "wpf_action=add&contact_id=5&role=a%00b", "", 400, "invalid_role"},
		"2 MB":                {"POST", query, strings.Repeat("x", 2<<20), 413, "body_too_large"},
		"2 MB, no key":        {"POST", "/", strings.Repeat("x", 2<<20), 403, "invalid_access_key"},
		"DELETE":              {"DELETE", query + "wpf_action=test", "", 405, "method_not_allowed"},
		"DELETE, no key":      {"DELETE", "/?wpf_action=test", "", 403, "invalid_access_key"},
		"OPTIONS, no key":     {"OPTIONS", "/?wpf_action=test", "", 403, "invalid_access_key"},
		"another method":      {"SPILL", query + "wpf_action=test", "", 405, "method_not_allowed"},
		"PUT of the health":   {"PUT", "/healthz", "", 403, "invalid_access_key"},
		"metrics":             {"GET", "/metrics", "", 403, "invalid_access_key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := b.call(c.method, c.target, c.form)
			require.Equal(t, c.status, w.Code, w.Body.String())
			require.Equal(t, c.code, code(t, w))
			require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			require.Empty(t, w.Header().Get("Set-Cookie"))
			require.Empty(t, w.Header().Get("Connection"))
			if c.status == http.StatusMethodNotAllowed {
				require.Equal(t, "GET, HEAD, POST, PUT, PATCH, OPTIONS", w.Header().Get("Allow"))
			}
		})
	}
}

func TestWrongKeysAreAnsweredTheSameWhateverElseIsWrong(t *testing.T) {
	t.Parallel()

	b := setup(t, nil)
	requests := func(target string) []*http.Request {
		var all []*http.Request
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "SPILL"} {
			all = append(all, httptest.NewRequest(method, target, nil))
		}
		for _, contentType := range []string{"text/plain", "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "/"} {
			for _, body := range []string{"", "x", "{", "--b", strings.Repeat("x", 2<<20), "\x1f\x8b\x08"} {
				r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
				r.Header.Set("Content-Type", contentType)
				r.Header.Set("Content-Encoding", "br")
				all = append(all, r)
			}
		}
		return all
	}
	counted := 0
	for _, target := range []string{"/?access_key=x&wpf_action=update&contact_id=5", "/?access_key=x", "/"} {
		for _, r := range requests(target) {
			w := b.do(r)
			switch counted++; {
			case counted <= 20:
				require.Equal(t, http.StatusForbidden, w.Code, "%s %s", r.Method, r.Header)
				require.Equal(t, "invalid_access_key", code(t, w))
			default:
				require.Equal(t, http.StatusTooManyRequests, w.Code, "%s %s", r.Method, r.Header)
				require.Equal(t, "too_many_failures", code(t, w))
			}
		}
	}
}

func TestProbesAreAnsweredAndQueueNothing(t *testing.T) {
	t.Parallel()

	b := setup(t, nil) // a submission would panic
	for _, path := range []string{"/", "/old/endpoint.php", "/healthz"} {
		for _, rest := range []string{"wpf_action=update&contact_id=5", "wpf_action=update", "wpf_action=delete"} {
			target := path + "?access_key=" + key + "&" + rest
			require.Equal(t, http.StatusOK, b.call(http.MethodHead, target, "").Code, target)
			w := b.call(http.MethodOptions, target, "")
			require.Equal(t, http.StatusOK, w.Code, target)
			require.Equal(t, "GET, HEAD, POST, PUT, PATCH, OPTIONS", w.Header().Get("Allow"))
			require.JSONEq(t, `{"success":true}`, w.Body.String())
		}
	}
}

func TestRequestOfAnAbsoluteAddressIsAWebhook(t *testing.T) {
	t.Parallel()

	w := setup(t, submit(accept)).call(http.MethodGet, "http://example.com?access_key="+key+"&wpf_action=test", "")
	require.Equal(t, http.StatusOK, w.Code)
}

func TestSubmissionThatFailsIsAnsweredWithComeBackLater(t *testing.T) {
	t.Parallel()

	b := setup(t, submit(func(context.Context, contact.Ref, contact.Intent, contact.Receipt) (bool, error) {
		return false, fmt.Errorf("recording contact default:98765: %w", syscall.ECONNREFUSED)
	}))
	for range 20 {
		w := b.call(http.MethodGet, query+"wpf_action=update&contact_id=98765", "")
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "5", w.Header().Get("Retry-After"))
		require.Equal(t, "unavailable", code(t, w))
	}
	require.Equal(t, 1, strings.Count(b.log.String(), `"level":"error"`), "the log must not grow with the outage")
	require.Contains(t, b.log.String(), "connection refused")
	require.NotContains(t, b.log.String(), "98765")
}

func TestCallerThatHangsUpIsHeardAllTheSame(t *testing.T) {
	t.Parallel()

	b := setup(t, submit(func(ctx context.Context, _ contact.Ref, _ contact.Intent, _ contact.Receipt) (bool, error) {
		return false, ctx.Err()
	}))
	ctx, hangUp := context.WithCancel(t.Context())
	hangUp()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, query+"wpf_action=update&contact_id=5", nil)
	require.Equal(t, http.StatusOK, b.do(r).Code)
}

func TestPanicIsAnsweredAndLoggedWithoutWhatWasHandled(t *testing.T) {
	t.Parallel()

	b := setup(t, submit(func(_ context.Context, ref contact.Ref, _ contact.Intent, _ contact.Receipt) (bool, error) {
		panic(errors.New("cannot handle " + ref.String()))
	}))
	w := b.call(http.MethodGet, query+"wpf_action=update&contact_id=98765", "")
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Equal(t, "internal", code(t, w))
	require.Contains(t, b.log.String(), `"level":"error","type":"*errors.errorString","at":"spillway/internal/ingest_test.TestPanic`)
	require.NotContains(t, b.log.String(), "98765")
}

func TestNoLogLineHoldsAKeyOrAQuery(t *testing.T) {
	t.Parallel()

	const wrong = "wr0ng-key"
	b := setup(t, submit(func(_ context.Context, ref contact.Ref, _ contact.Intent, _ contact.Receipt) (bool, error) {
		if ref.ID == "6" {
			return false, errors.New("away")
		}
		return false, nil
	}))
	for _, k := range []string{key, wrong} {
		for _, rest := range []string{
			"wpf_action=update&contact_id=5", "wpf_action=update&contact_id=6", "wpf_action=test",
			"wpf_action=add&contact_id=5&email=someone@example.com", "contact_id=x",
		} {
			b.call(http.MethodGet, "/?access_key="+k+"&"+rest, "")
			b.call(http.MethodGet, "/"+k+"/?"+rest, "")
			b.call(http.MethodPost, "/", "access_key="+k+"&"+rest)
			b.call(http.MethodPut, "/?access_key="+k+"&"+rest, "")
			r := httptest.NewRequest(http.MethodGet, "/?"+rest, nil)
			r.Header.Set("X-Access-Key", k)
			b.do(r)
		}
	}
	log := b.log.String()
	require.Contains(t, log, `"contact":"default:5","action":"add"`)
	require.Contains(t, log, `"outcome":"invalid_access_key"`)
	for _, secret := range []string{key, wrong, "access_key=", "wpf_action", "someone", "example.com"} {
		require.NotContains(t, log, secret)
	}
}

func TestBrowserGetsAPageOfTheSameStatus(t *testing.T) {
	t.Parallel()

	b := setup(t, submit(accept))
	for target, want := range map[string]struct {
		status int
		text   string
	}{
		query + "wpf_action=update&contact_id=5":             {200, "Contact 5 will be synced (update)."},
		query + "wpf_action=test":                            {200, "the access key is right"},
		"/?access_key=%3Cscript%3E":                          {403, "<code>invalid_access_key</code>"},
		query + "wpf_action=update":                          {400, "The address and the access key are right."},
		query + "wpf_action=%3Cscript%3E":                    {400, "<code>unknown_action</code>"},
		query + "wpf_action=add&contact_id=%3Cscript%3E1":    {400, "<code>invalid_contact_id</code>"},
		query + "wpf_action=add&contact_id=5&role=%3Cscript": {200, "Contact 5 will be synced (add)."},
	} {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
		w := b.do(r)
		require.Equal(t, want.status, w.Code, target)
		require.Equal(t, "text/html; charset=UTF-8", w.Header().Get("Content-Type"))
		require.Equal(t, "no-referrer", w.Header().Get("Referrer-Policy"))
		require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
		require.Contains(t, w.Body.String(), want.text)
		require.Regexp(t, `answered within \d+ ms`, w.Body.String())
		for _, unwanted := range []string{"<script", "http://", "https://", key} {
			require.NotContains(t, w.Body.String(), unwanted)
		}
	}
}

func TestHealthIsAnsweredUnlessTheRequestIsAWebhook(t *testing.T) {
	t.Parallel()

	b := setup(t, nil)
	for _, path := range []string{"/healthz", "/readyz"} {
		w := b.call(http.MethodGet, path, "")
		require.Equal(t, http.StatusOK, w.Code)
		require.JSONEq(t, `{"status":"ok"}`, w.Body.String())
		require.Equal(t, http.StatusOK, b.call(http.MethodHead, path, "").Code)
		require.Equal(t, http.StatusForbidden, b.call(http.MethodGet, path+"?wpf_action=test", "").Code)
		require.Equal(t, http.StatusForbidden, b.call(http.MethodPost, path, "wpf_action=test").Code)
	}
	count, err := testutil.GatherAndCount(b.registry, "spillway_webhook_duration_seconds")
	require.NoError(t, err)
	require.Equal(t, 1, count)
	require.NotContains(t, b.log.String(), `"result":"accepted"`)
}

func TestNewKeysCountFromTheNextRequestOn(t *testing.T) {
	t.Parallel()

	b := setup(t, submit(accept))
	target := "/?wpf_action=test&access_key="
	require.Equal(t, http.StatusOK, b.call(http.MethodGet, target+key, "").Code)
	one := func(name string, keys ...string) ingest.Site {
		return ingest.Site{Name: name, Keys: keys, Pending: submit(accept)}
	}
	require.NoError(t, b.server.SetSites([]ingest.Site{one("default", "new-key", key)}))
	require.Equal(t, http.StatusOK, b.call(http.MethodGet, target+key, "").Code)
	require.Equal(t, http.StatusOK, b.call(http.MethodGet, target+"new-key", "").Code)
	require.NoError(t, b.server.SetSites([]ingest.Site{one("default", "new-key")}))
	require.Equal(t, http.StatusForbidden, b.call(http.MethodGet, target+key, "").Code)
	require.Error(t, b.server.SetSites([]ingest.Site{one("shop", "a-key"), one("blog", "a-key")}))
	require.Equal(t, http.StatusOK, b.call(http.MethodGet, target+"new-key", "").Code, "what was there before stays")
	require.Equal(t, http.StatusForbidden, b.call(http.MethodGet, target, "").Code)
}

func TestWebhookIsKeptInRedis(t *testing.T) {
	t.Parallel()

	redis := redistest.Start(t)
	contacts := pending.New(redis.Client(), pending.Options{})
	b := setup(t, contacts)
	for _, coalesced := range []bool{false, true} {
		w := b.call(http.MethodGet, query+"wpf_action=update&contact_id=5", "")
		require.Equal(t, http.StatusOK, w.Code, w.Body.String())
		require.JSONEq(t, fmt.Sprintf(`{"status":"queued","contact_id":"5","action":"update","coalesced":%t}`, coalesced), w.Body.String())
	}
	stats, err := contacts.Stats(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, stats.Received)
	require.EqualValues(t, 1, stats.Coalesced)

	redis.Kill()
	w := b.call(http.MethodGet, query+"wpf_action=update&contact_id=6", "")
	require.Equal(t, "unavailable", code(t, w))
	redis.Restart()
	require.Eventually(t, func() bool {
		return b.call(http.MethodGet, query+"wpf_action=update&contact_id=6", "").Code == http.StatusOK
	}, 10*time.Second, 50*time.Millisecond)
}

func BenchmarkWebhook(b *testing.B) {
	handler := serving(b, ingest.Options{Log: zerolog.New(io.Discard).Level(zerolog.InfoLevel)}, ingest.Site{Pending: submit(accept)}).Handler()
	r := httptest.NewRequest(http.MethodGet, query+"wpf_action=update&contact_id=123", nil)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}
