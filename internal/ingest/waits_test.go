package ingest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/ingest"
	"spillway/internal/lab/logtest"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
)

// waiting is an ingest whose senders wait, before a real Redis; the test plays
// the worker.
type waiting struct {
	*bundle
	contacts *pending.Contacts
	rdb      *redis.Client
	redis    *redistest.Server
	address  string
	stop     func()
}

const longWait = 30 * time.Second // far more than anything takes

func startWaiting(t *testing.T, change func(*ingest.Options, *ingest.Site)) *waiting {
	t.Helper()
	t.Parallel()
	server := redistest.Start(t)
	w := &waiting{bundle: &bundle{log: &logtest.Log{}, registry: prometheus.NewRegistry()}, rdb: server.Client(), redis: server}
	w.contacts = pending.New(w.rdb, pending.Options{})
	intake := pending.NewIntake(w.contacts)
	endings := pending.NewEndings(w.rdb)
	options := ingest.Options{Registerer: w.registry, Log: zerolog.New(w.log).Level(zerolog.TraceLevel), AnswerWaiters: 10}
	site := ingest.Site{Pending: intake, Endings: endings.Of(intake), AnswerWait: longWait}
	if change != nil {
		change(&options, &site)
	}
	w.server = serving(t, options, site)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		endings.Run(ctx, func(error) {})
	}()
	t.Cleanup(func() {
		cancel()
		<-stopped
	})
	require.Eventually(t, endings.Listening, longWait, 5*time.Millisecond)
	w.address, w.stop = serve(t, w.server)
	return w
}

// answer is what a sender got.
type answer struct {
	status int
	body   string
	err    error
}

// send sends a webhook and returns its answer as soon as there is one.
func (w *waiting) send(ctx context.Context, parameters string) <-chan answer {
	answers := make(chan answer, 1)
	go func() {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.address+query+parameters, nil)
		if err != nil {
			answers <- answer{err: err}
			return
		}
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		if err != nil {
			answers <- answer{err: err}
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		answers <- answer{response.StatusCode, string(body), err}
	}()
	return answers
}

// claim begins the pass of a contact when its webhook is there.
func (w *waiting) claim(t *testing.T, id string) *pending.Claim {
	t.Helper()
	var claim *pending.Claim
	require.Eventually(t, func() bool {
		epoch, err := w.rdb.HGet(t.Context(), "spw:{spillway}:c:default:"+id, "epoch").Result()
		if err != nil {
			return false
		}
		claim, err = w.contacts.Claim(t.Context(), "default:"+id+":"+epoch)
		return err == nil
	}, longWait, 5*time.Millisecond)
	return claim
}

// recorded waits until a contact's last webhook, the nth, is in Redis. A sender
// counts as waiting before that.
func (w *waiting) recorded(t *testing.T, id, nth string) {
	t.Helper()
	polltest.Until(t, longWait, func() bool {
		return w.rdb.HGet(t.Context(), "spw:{spillway}:c:default:"+id, "gen").Val() == nth
	}, "the webhook is recorded")
}

func (w *waiting) finish(t *testing.T, claim *pending.Claim, event history.Event) {
	t.Helper()
	_, err := claim.Finish(t.Context(), event.Encode())
	require.NoError(t, err)
}

// awaits waits until so many senders wait.
func (w *waiting) awaits(t *testing.T, n float64) {
	t.Helper()
	polltest.Until(t, longWait, func() bool {
		return w.metric(t, "spillway_webhooks_waiting")[0].GetGauge().GetValue() == n
	}, "so many senders wait")
}

// ended requires that waits ended as often as said, and in no other way.
func (w *waiting) ended(t *testing.T, want map[string]int) {
	t.Helper()
	got := map[string]int{}
	for _, metric := range w.metric(t, "spillway_webhook_waits_total") {
		if n := int(metric.GetCounter().GetValue()); n > 0 {
			got[metric.GetLabel()[0].GetValue()] = n
		}
	}
	require.Equal(t, want, got)
}

func (w *waiting) metric(t *testing.T, name string) []*dto.Metric {
	t.Helper()
	families, err := w.registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()
		}
	}
	require.Fail(t, "no metric is named "+name)
	return nil
}

func created() history.Event {
	return history.Event{
		Kind: history.Synced, Action: "add", Outcome: "created", UserID: 42, Role: "customer", PasswordReturned: true,
		Notes: []string{"role_kept"},
	}
}

const queuedFive = `{"status":"queued","contact_id":"5","action":"add","coalesced":false}`

func TestAddIsAnsweredWhenItIsDone(t *testing.T) {
	w := startWaiting(t, nil)
	answers := w.send(t.Context(), "wpf_action=add&contact_id=5")
	claim := w.claim(t, "5")
	require.Empty(t, answers)
	w.finish(t, claim, created())
	answer := <-answers
	require.NoError(t, answer.err)
	require.Equal(t, http.StatusOK, answer.status)
	require.JSONEq(t, `{"status":"synced","contact_id":"5","action":"add","outcome":"created","user_id":42,"role":"customer",
		"password_returned":true,"notes":["role_kept"]}`, answer.body)
	w.awaits(t, 0)
	w.ended(t, map[string]int{"synced": 1})
}

func TestAddThatParksIsAnsweredWithTheReason(t *testing.T) {
	w := startWaiting(t, nil)
	answers := w.send(t.Context(), "wpf_action=add&contact_id=5")
	claim := w.claim(t, "5")
	event := history.Event{Kind: history.Parked, Action: "add", Code: "no_email", Error: "the site refuses contact 5 (no_email): it has none"}
	_, err := claim.Park(t.Context(), pending.Failure{Code: event.Code, Text: event.Error}, event.Encode())
	require.NoError(t, err)
	answer := <-answers
	require.NoError(t, answer.err)
	require.Equal(t, http.StatusUnprocessableEntity, answer.status)
	require.JSONEq(t, `{"status":"parked","contact_id":"5","error":{"code":"no_email","message":"the site refuses contact 5 (no_email): it has none"}}`, answer.body)
	w.ended(t, map[string]int{"parked": 1})
}

func TestAddThatTakesLongIsQueued(t *testing.T) {
	w := startWaiting(t, func(_ *ingest.Options, s *ingest.Site) { s.AnswerWait = 50 * time.Millisecond })
	answer := <-w.send(t.Context(), "wpf_action=add&contact_id=5")
	require.NoError(t, answer.err)
	require.Equal(t, http.StatusOK, answer.status)
	require.JSONEq(t, queuedFive, answer.body)
	w.awaits(t, 0)
	w.ended(t, map[string]int{"timeout": 1})
}

func TestSendersSayHowLongTheyWait(t *testing.T) {
	w := startWaiting(t, nil)
	answers := w.send(t.Context(), "wpf_action=update&contact_id=5&wait=20")
	w.finish(t, w.claim(t, "5"), history.Event{Kind: history.Synced, Action: "update", Outcome: "skipped"})
	answer := <-answers
	require.NoError(t, answer.err)
	require.JSONEq(t, `{"status":"synced","contact_id":"5","action":"update","outcome":"skipped","user_id":0,"role":"","password_returned":false,"notes":[]}`, answer.body)
	for _, parameters := range []string{"wpf_action=add&contact_id=6&wait=0", "wpf_action=update&contact_id=7", "wpf_action=update_tags&contact_id=8"} {
		answer := <-w.send(t.Context(), parameters)
		require.NoError(t, answer.err)
		require.Contains(t, answer.body, `"status":"queued"`)
	}
	w.ended(t, map[string]int{"synced": 1})
}

// A pass that did less than the webhook asks for is another's, of a Redis that
// has forgotten this one.
func TestWeakerPassIsNoAnswer(t *testing.T) {
	w := startWaiting(t, nil)
	answers := w.send(t.Context(), "wpf_action=add&contact_id=5")
	claim := w.claim(t, "5")
	second := w.send(t.Context(), "wpf_action=add&contact_id=5") // so that the claim goes on
	w.recorded(t, "5", "2")
	for _, event := range []history.Event{{Kind: history.Synced, Action: "update", Outcome: "skipped"}, created()} {
		again, err := claim.Finish(t.Context(), event.Encode())
		require.NoError(t, err)
		require.Equal(t, event.Outcome == "skipped", again)
	}
	for _, answers := range []<-chan answer{answers, second} {
		answer := <-answers
		require.NoError(t, answer.err)
		require.Contains(t, answer.body, `"outcome":"created"`)
	}
}

func TestSenderThatHangsUpWaitsNoLonger(t *testing.T) {
	w := startWaiting(t, nil)
	ctx, hangUp := context.WithCancel(t.Context())
	answers := w.send(ctx, "wpf_action=add&contact_id=5")
	w.awaits(t, 1)
	hangUp()
	require.Error(t, (<-answers).err)
	w.awaits(t, 0)
	w.ended(t, map[string]int{"hung_up": 1})
	w.finish(t, w.claim(t, "5"), created())
}

// A sender with a body is noticed as well, whatever the body is needed for.
func TestSenderOfABodyThatHangsUpWaitsNoLonger(t *testing.T) {
	w := startWaiting(t, nil)
	ctx, hangUp := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+w.address+query+"wpf_action=add&contact_id=5", strings.NewReader(strings.Repeat("x", 60_000)))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	ended := make(chan error, 1)
	go func() {
		response, err := http.DefaultClient.Do(r)
		if err == nil {
			_ = response.Body.Close()
		}
		ended <- err
	}()
	w.awaits(t, 1)
	hangUp()
	require.Error(t, <-ended)
	w.awaits(t, 0)
	w.ended(t, map[string]int{"hung_up": 1})
}

func TestStopAnswersThoseWhoWait(t *testing.T) {
	w := startWaiting(t, nil)
	answers := []<-chan answer{w.send(t.Context(), "wpf_action=add&contact_id=5"), w.send(t.Context(), "wpf_action=add&contact_id=6&wait=30")}
	w.awaits(t, 2)
	w.stop()
	for _, answers := range answers {
		answer := <-answers
		require.NoError(t, answer.err)
		require.Equal(t, http.StatusOK, answer.status)
		require.Contains(t, answer.body, `"status":"queued"`)
	}
	w.ended(t, map[string]int{"stopping": 2})
}

func TestNoMoreWaitThanMay(t *testing.T) {
	w := startWaiting(t, func(o *ingest.Options, _ *ingest.Site) { o.AnswerWaiters = 2 })
	answers := []<-chan answer{w.send(t.Context(), "wpf_action=add&contact_id=5"), w.send(t.Context(), "wpf_action=add&contact_id=6")}
	w.awaits(t, 2)
	for range 3 {
		answer := <-w.send(t.Context(), "wpf_action=add&contact_id=7")
		require.NoError(t, answer.err)
		require.Contains(t, answer.body, `"status":"queued"`)
	}
	w.finish(t, w.claim(t, "5"), created())
	w.finish(t, w.claim(t, "6"), created())
	for _, answers := range answers {
		require.Contains(t, (<-answers).body, `"status":"synced"`)
	}
	w.awaits(t, 0)
	w.ended(t, map[string]int{"synced": 2, "full": 3})
}

func TestNobodyWaitsWhereNobodyMay(t *testing.T) {
	w := startWaiting(t, func(o *ingest.Options, _ *ingest.Site) { o.AnswerWaiters = 0 })
	answer := <-w.send(t.Context(), "wpf_action=add&contact_id=5&wait=30")
	require.NoError(t, answer.err)
	require.JSONEq(t, queuedFive, answer.body)
	w.ended(t, map[string]int{})
}

func TestNobodyWaitsWhilePassesAreHeldBack(t *testing.T) {
	var held atomic.Bool
	held.Store(true)
	w := startWaiting(t, func(_ *ingest.Options, s *ingest.Site) { s.Held = func(context.Context) bool { return held.Load() } })
	answer := <-w.send(t.Context(), "wpf_action=add&contact_id=5")
	require.NoError(t, answer.err)
	require.JSONEq(t, queuedFive, answer.body)

	held.Store(false)
	require.NoError(t, w.contacts.Pause(t.Context()))
	answer = <-w.send(t.Context(), "wpf_action=add&contact_id=6")
	require.NoError(t, answer.err)
	require.Contains(t, answer.body, `"status":"queued"`)
	w.awaits(t, 0)
	w.ended(t, map[string]int{"declined": 2})
	require.NoError(t, w.contacts.Resume(t.Context()))

	// What was asked is good for a second.
	require.Eventually(t, func() bool {
		ctx, hangUp := context.WithCancel(t.Context())
		defer hangUp()
		answers := w.send(ctx, "wpf_action=add&contact_id=7")
		select {
		case <-answers:
			return false
		case <-time.After(200 * time.Millisecond):
			return true
		}
	}, longWait, 100*time.Millisecond)
}

func TestRecordingDoesNotDependOnWaiting(t *testing.T) {
	w := startWaiting(t, nil)
	answers := w.send(t.Context(), "wpf_action=add&contact_id=5&wait=2")
	w.recorded(t, "5", "1")
	w.redis.Kill()
	lost := <-answers
	require.NoError(t, lost.err)
	require.JSONEq(t, queuedFive, lost.body, "it was recorded before the wait")
	refused := <-w.send(t.Context(), "wpf_action=add&contact_id=6")
	require.NoError(t, refused.err)
	require.Equal(t, http.StatusServiceUnavailable, refused.status)
	w.awaits(t, 0)
	w.ended(t, map[string]int{"timeout": 1})
	w.redis.Restart()
	require.Eventually(t, func() bool {
		answer := <-w.send(t.Context(), "wpf_action=add&contact_id=6&wait=0")
		return answer.err == nil && answer.status == http.StatusOK
	}, longWait, 50*time.Millisecond)
	require.NotNil(t, w.claim(t, "5"))
}

// The server's deadlines are for requests that are answered at once.
func TestDeadlinesOfTheConnectionLetTheSenderWait(t *testing.T) {
	w := startWaiting(t, nil)
	connection := &deadlines{ResponseRecorder: httptest.NewRecorder(), read: time.Unix(1, 0)}
	done := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(done)
		w.server.Handler().ServeHTTP(connection, httptest.NewRequest(http.MethodGet, query+"wpf_action=add&contact_id=5&wait=30", nil))
	}()
	w.finish(t, w.claim(t, "5"), created())
	<-done
	require.Contains(t, connection.Body.String(), `"status":"synced"`)
	require.True(t, connection.read.IsZero())
	require.GreaterOrEqual(t, connection.write.Sub(began), 40*time.Second)
}

type deadlines struct {
	*httptest.ResponseRecorder
	read, write time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.read = at
	return nil
}

func (d *deadlines) SetWriteDeadline(at time.Time) error {
	d.write = at
	return nil
}

func TestWaitsAreNoPartOfHowLongAWebhookTakes(t *testing.T) {
	w := startWaiting(t, func(_ *ingest.Options, s *ingest.Site) { s.AnswerWait = 200 * time.Millisecond })
	require.NoError(t, (<-w.send(t.Context(), "wpf_action=add&contact_id=5")).err)
	w.stop()
	var line struct {
		Outcome, Wait string
		Took          float64 `json:"took_ms"`
		Waited        float64 `json:"waited_ms"`
	}
	for text := range strings.Lines(w.log.String()) {
		if strings.Contains(text, "webhook answered") {
			require.NoError(t, json.Unmarshal([]byte(text), &line))
		}
	}
	require.Equal(t, "accepted", line.Outcome)
	require.Equal(t, "timeout", line.Wait)
	require.Positive(t, line.Waited)
	waited := w.metric(t, "spillway_webhook_wait_seconds")[0].GetHistogram()
	require.InDelta(t, line.Waited, waited.GetSampleSum()*1000, 1)
	took := w.metric(t, "spillway_webhook_duration_seconds")[0].GetHistogram()
	require.InDelta(t, line.Took-line.Waited, took.GetSampleSum()*1000, 1)
}
