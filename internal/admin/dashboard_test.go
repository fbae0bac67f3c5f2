package admin_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/admin"
	"spillway/internal/admin/roster"
	"spillway/internal/contact"
	"spillway/internal/lab/logtest"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
	"spillway/internal/pending/shard"
	"spillway/internal/throttle"
)

type bundle struct {
	contacts  *pending.Contacts
	timelines *history.Timelines
	redis     *redistest.Server
	dashboard *admin.Dashboard
	log       *logtest.Log
	url       string
}

// awayCRM says that the CRM is away.
type awayCRM struct{}

func (awayCRM) Read(context.Context) ([]throttle.Status, error) {
	return []throttle.Status{
		{System: "crm", State: "open", Reason: "it answers 503", Facts: map[string]float64{"rate_per_second": 40}},
		{System: "site", State: "closed"},
	}, nil
}

// book knows three addresses.
type book struct{}

func (book) Find(_ context.Context, _, address string) ([]string, error) {
	return map[string][]string{"ann@example.org": {"7"}, "both@example.org": {"8", "9"}}[address], nil
}

func setup(t *testing.T, password string) *bundle {
	t.Helper()
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	b := &bundle{contacts: pending.New(rdb, pending.Options{}), timelines: history.New(rdb, contact.DefaultSite, 1), redis: server, log: &logtest.Log{}}
	b.url = b.replica(t, password)
	return b
}

// replica starts one more dashboard on the same Redis.
func (b *bundle) replica(t *testing.T, password string, change ...func(*admin.Options)) string {
	t.Helper()
	health := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "health of "+r.URL.Path) })
	options := admin.Options{
		Contacts: b.contacts, Timelines: b.timelines, Redis: b.redis.Client(), Password: password,
		Creations: throttle.NewCreations(b.redis.Client(), contact.DefaultSite, 0),
		Systems:   awayCRM{}, Addresses: book{}, CRMURL: "https://crm.example", SiteURL: "https://site.example",
		Settings: []roster.Setting{{Name: "SPILLWAY_ADMIN_PASSWORD", Value: "(set)"}},
		Health:   health, Site: contact.DefaultSite, Log: zerolog.New(b.log),
	}
	for _, c := range change {
		c(&options)
	}
	d := admin.New(options)
	if b.dashboard == nil {
		b.dashboard = d
	}
	web := httptest.NewServer(d)
	t.Cleanup(web.Close)
	return web.URL
}

func call(t *testing.T, method, url, password string, headers ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	if password != "" {
		request.SetBasicAuth(admin.User, password)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

// park makes contact ID parked.
func (b *bundle) park(t *testing.T, id string) {
	t.Helper()
	ref := contact.Ref{Site: contact.DefaultSite, ID: id}
	_, err := b.contacts.Submit(t.Context(), ref, contact.Intent{Action: contact.Add}, contact.Receipt{})
	require.NoError(t, err)
	epoch, err := b.redis.Client().HGet(t.Context(), "spw:{spillway}:c:"+ref.String(), "epoch").Result()
	require.NoError(t, err)
	claim, err := b.contacts.Claim(t.Context(), ref.String()+":"+epoch)
	require.NoError(t, err)
	_, err = claim.Park(t.Context(), pending.Failure{Code: "no_email", Text: "the contact has <no> email"}, "")
	require.NoError(t, err)
}

func TestAPIAsksForThePasswordAndHealthDoesNot(t *testing.T) {
	b := setup(t, "correct horse")
	for _, path := range []string{"/", "/monitor", "/monitor/api/queues", "/api/v1/stats", "/api/v1/contacts/1", "/api/v1/parked"} {
		status, body := call(t, http.MethodGet, b.url+path, "")
		require.Equal(t, http.StatusUnauthorized, status, path)
		require.Contains(t, body, `"code":"unauthorized"`)
		status, _ = call(t, http.MethodGet, b.url+path, "wrong")
		require.Equal(t, http.StatusUnauthorized, status, path)
		status, _ = call(t, http.MethodGet, b.url+path, "correct horse")
		require.Equal(t, http.StatusOK, status, path)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		status, body := call(t, http.MethodGet, b.url+path, "")
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "health of "+path, body)
	}
}

func TestWithoutAPasswordOnlyLoopbackHostNamesAreServed(t *testing.T) {
	b := setup(t, "")
	status, _ := call(t, http.MethodGet, b.url+"/api/v1/stats", "")
	require.Equal(t, http.StatusOK, status)
	status, body := call(t, http.MethodGet, b.url+"/api/v1/stats", "", "Host", "rebound.example.com")
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, body, "not_loopback")
}

func TestChangesFromAnotherOriginAreRefused(t *testing.T) {
	b := setup(t, "")
	status, body := call(t, http.MethodPost, b.url+"/api/v1/parked/retry", "", "Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, body, "cross_origin")
}

func TestContactTellsItsStateAndTimeline(t *testing.T) {
	b := setup(t, "")
	status, body := call(t, http.MethodGet, b.url+"/api/v1/contacts/5", "")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"contact_id":"5","state":"idle","webhooks":0,"attempts":0,"last_sync":null,"last_error":null}`, body)

	ref := contact.Ref{Site: contact.DefaultSite, ID: "5"}
	now := time.Now().UTC()
	synced := history.Event{Time: now, Kind: history.Synced, Outcome: "created", UserID: 3}
	require.NoError(t, b.redis.Client().LPush(t.Context(), shard.Timeline("spillway", ref), synced.Encode()).Err())
	b.park(t, "5")
	_, body = call(t, http.MethodGet, b.url+"/api/v1/contacts/5", "")
	var view struct {
		State     string
		LastSync  time.Time       `json:"last_sync"`
		LastError pending.Failure `json:"last_error"`
		Timeline  []history.Event
	}
	require.NoError(t, json.Unmarshal([]byte(body), &view))
	require.Equal(t, "parked", view.State)
	require.Equal(t, "no_email", view.LastError.Code)
	require.WithinDuration(t, now, view.LastSync, time.Second)
	require.Len(t, view.Timeline, 1)

	for _, id := range []string{"0", "-1", "x", "01", "1%20", "9999999999999999999"} {
		status, body = call(t, http.MethodGet, b.url+"/api/v1/contacts/"+id, "")
		require.Equal(t, http.StatusBadRequest, status, id)
		require.Contains(t, body, "invalid_contact_id")
	}
}

func TestOperatorSyncsAndRetriesContacts(t *testing.T) {
	b := setup(t, "")
	status, body := call(t, http.MethodPost, b.url+"/api/v1/contacts/7/sync?action=add", "")
	require.Equal(t, http.StatusAccepted, status)
	require.JSONEq(t, `{"status":"queued","contact_id":"7","action":"add","coalesced":false}`, body)
	status, _ = call(t, http.MethodPost, b.url+"/api/v1/contacts/7/sync?action=drop", "")
	require.Equal(t, http.StatusBadRequest, status)
	for _, c := range []struct{ kind, body, want string }{
		{"application/json", `{"action":"add"}`, `"action":"add"`},
		{"application/json", `{}`, `"action":"update"`},
		{"application/x-www-form-urlencoded", "action=add", `"action":"add"`},
		{"application/json", `{"action":`, "invalid_body"},
		{"text/plain", "add", "invalid_body"},
	} {
		response, err := http.Post(b.url+"/api/v1/contacts/7/sync", c.kind, strings.NewReader(c.body))
		require.NoError(t, err)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Contains(t, string(text), c.want, c.body)
	}

	b.park(t, "8")
	b.park(t, "9")
	_, body = call(t, http.MethodGet, b.url+"/api/v1/parked?limit=1", "")
	require.Equal(t, 1, strings.Count(body, `"contact_id"`))
	_, page := call(t, http.MethodGet, b.url+"/", "")
	require.Contains(t, page, "the contact has &lt;no&gt; email")
	status, body = call(t, http.MethodPost, b.url+"/api/v1/parked/retry", "")
	require.Equal(t, http.StatusAccepted, status)
	require.JSONEq(t, `{"status":"queued","contacts":2}`, body)
	_, body = call(t, http.MethodGet, b.url+"/api/v1/stats", "")
	require.Contains(t, body, `"received":2,"coalesced":0,"synced":0,"failed":2,"pending":3,"active":0,"retrying":0,"parked":0`)
}

func TestSyncingAParkedContactRevivesIt(t *testing.T) {
	b := setup(t, "")
	b.park(t, "8") // an add
	status, body := call(t, http.MethodPost, b.url+"/api/v1/contacts/8/sync", "")
	require.Equal(t, http.StatusAccepted, status, body)
	record, err := b.contacts.Lookup(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: "8"})
	require.NoError(t, err)
	require.Equal(t, pending.Pending, record.State)
	require.Equal(t, contact.Add, record.Intent.Action, "what it was parked with is still to be done")
	_, body = call(t, http.MethodGet, b.url+"/api/v1/parked", "")
	require.JSONEq(t, `{"contacts":[]}`, body)
}

func TestDroppingAParkedContactStandsOnItsTimeline(t *testing.T) {
	b := setup(t, "")
	b.park(t, "8")
	status, body := call(t, http.MethodDelete, b.url+"/api/v1/parked/8", "")
	require.Equal(t, http.StatusOK, status, body)
	_, body = call(t, http.MethodGet, b.url+"/api/v1/contacts/8", "")
	require.Contains(t, body, `"state":"idle"`)
	require.Contains(t, body, `"kind":"dropped","action":"add","notes":["by the operator"]`)
	_, page := call(t, http.MethodGet, b.url+"/contacts/8", "")
	require.Contains(t, page, "by the operator")
	require.NotContains(t, page, "waited")
}

func TestUnknownPathsAndAnAbsentRedisAreAnsweredInJSON(t *testing.T) {
	b := setup(t, "")
	status, body := call(t, http.MethodGet, b.url+"/nowhere", "")
	require.Equal(t, http.StatusNotFound, status)
	require.Contains(t, body, `"code":"not_found"`)
	status, body = call(t, http.MethodGet, b.url+"/api/v1/parked?offset=9223372036854775807&limit=500", "")
	require.Equal(t, http.StatusOK, status, body)
	require.JSONEq(t, `{"contacts":[]}`, body)
	b.redis.Kill()
	status, body = call(t, http.MethodGet, b.url+"/api/v1/stats", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, `"code":"unavailable"`)
}

// Monitors ask with HEAD; a method that an address does not take is named with those
// that it takes.
func TestHeadIsAnsweredAsGetAndOtherMethodsAreNamed(t *testing.T) {
	b := setup(t, "secret")
	ask := func(method, path, password string) (status int, allow string) {
		request, err := http.NewRequestWithContext(t.Context(), method, b.url+path, nil)
		require.NoError(t, err)
		if password != "" {
			request.SetBasicAuth(admin.User, password)
		}
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode, response.Header.Get("Allow")
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		status, _ := ask(http.MethodHead, path, "")
		require.Equal(t, http.StatusOK, status, path)
	}
	status, _ := ask(http.MethodHead, "/api/v1/stats", "")
	require.Equal(t, http.StatusUnauthorized, status)
	for _, path := range []string{"/", "/parked", "/api/v1/stats", "/api/v1/contacts/7", "/monitor"} {
		status, _ := ask(http.MethodHead, path, "secret")
		require.Equal(t, http.StatusOK, status, path)
	}
	for _, c := range []struct{ method, path, allow string }{
		{http.MethodPost, "/api/v1/stats", "GET, HEAD"},
		{http.MethodGet, "/api/v1/pause", "POST"},
		{http.MethodPut, "/api/v1/parked/7", "DELETE"},
		{http.MethodHead, "/events", "GET"},
		{http.MethodDelete, "/login", "GET, HEAD, POST"},
	} {
		status, allow := ask(c.method, c.path, "secret")
		require.Equal(t, http.StatusMethodNotAllowed, status, c.path)
		require.Equal(t, c.allow, allow, c.path)
	}
	status, _ = ask(http.MethodPost, "/api/v1/stats", "")
	require.Equal(t, http.StatusUnauthorized, status, "strangers learn nothing")
}
