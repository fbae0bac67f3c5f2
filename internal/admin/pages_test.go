package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/admin"
	"spillway/internal/admin/refusals"
	"spillway/internal/admin/roster"
	"spillway/internal/contact"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
	"spillway/internal/pending/shard"
)

const password = "correct horse"

// browser is a person's: it has cookies, and follows no redirect by itself.
type browser struct {
	url    string
	client *http.Client
}

func (b *bundle) browser(t *testing.T) *browser {
	t.Helper()
	return newBrowser(t, b.url)
}

func newBrowser(t *testing.T, url string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &browser{url, &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (b *browser) do(t *testing.T, method, path string, form url.Values, headers ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	request.Header.Set("Accept", "text/html,*/*")
	request.Header.Set("Origin", b.url)
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := b.client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(body)
}

func (b *browser) login(t *testing.T, with string, headers ...string) *http.Response {
	t.Helper()
	response, _ := b.do(t, http.MethodPost, "/login", url.Values{"password": {with}, "next": {"/parked"}}, headers...)
	return response
}

func TestASessionLastsFromSigningInToSigningOut(t *testing.T) {
	b := setup(t, password)
	person := b.browser(t)
	response, _ := person.do(t, http.MethodGet, "/parked?offset=0", nil)
	require.Equal(t, http.StatusSeeOther, response.StatusCode)
	require.Equal(t, "/login?next=%2Fparked%3Foffset%3D0", response.Header.Get("Location"))
	_, page := person.do(t, http.MethodGet, "/login?next=/parked", nil)
	require.Contains(t, page, `name="next" value="/parked"`)

	require.Equal(t, http.StatusUnauthorized, person.login(t, "wrong").StatusCode)
	response = person.login(t, password)
	require.Equal(t, http.StatusSeeOther, response.StatusCode)
	require.Equal(t, "/parked", response.Header.Get("Location"))
	cookie := response.Cookies()[0]
	require.True(t, cookie.HttpOnly)
	require.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
	require.False(t, cookie.Secure)
	for _, path := range []string{"/", "/parked", "/replicas", "/contacts/7", "/api/v1/stats", "/monitor"} {
		response, _ = person.do(t, http.MethodGet, path, nil)
		require.Equal(t, http.StatusOK, response.StatusCode, path)
	}
	response, _ = person.do(t, http.MethodGet, "/login", nil)
	require.Equal(t, http.StatusSeeOther, response.StatusCode)

	// What Redis holds is of no use to who reads it.
	keys, err := b.redis.Client().Keys(t.Context(), "spw:session:*").Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	require.NotContains(t, keys[0], cookie.Value)
	value, err := b.redis.Client().Get(t.Context(), keys[0]).Result()
	require.NoError(t, err)
	require.NotContains(t, value, cookie.Value)

	// Another replica knows the session; one with another password does not.
	replica := b.replica(t, password)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, replica+"/api/v1/stats", nil)
	require.NoError(t, err)
	request.AddCookie(cookie)
	require.Equal(t, http.StatusOK, status(t, request))
	request, err = http.NewRequestWithContext(t.Context(), http.MethodGet, b.replica(t, "another")+"/api/v1/stats", nil)
	require.NoError(t, err)
	request.AddCookie(cookie)
	require.Equal(t, http.StatusUnauthorized, status(t, request))

	response, _ = person.do(t, http.MethodPost, "/logout", nil)
	require.Equal(t, "/login", response.Header.Get("Location"))
	request, err = http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/api/v1/stats", nil)
	require.NoError(t, err)
	request.AddCookie(cookie)
	require.Equal(t, http.StatusUnauthorized, status(t, request), "the cookie of a session that was ended")
}

func status(t *testing.T, request *http.Request) int {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	return response.StatusCode
}

func TestTheCookieIsForTLSAloneBehindAProxyThatHasIt(t *testing.T) {
	b := setup(t, password)
	for _, said := range []string{"https", "HTTPS", "https, http"} {
		cookie := b.browser(t).login(t, password, "X-Forwarded-Proto", said).Cookies()[0]
		require.True(t, cookie.Secure, said)
		require.Equal(t, "__Host-spillway_session", cookie.Name, said)
	}
	require.False(t, b.browser(t).login(t, password, "X-Forwarded-Proto", "http, https").Cookies()[0].Secure)
}

func TestASessionCannotBeUsedByOtherOrigins(t *testing.T) {
	b := setup(t, password)
	person := b.browser(t)
	person.login(t, password)
	for _, foreign := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
	} {
		for _, path := range []string{"/pause", "/logout", "/parked/retry", "/login", "/contacts/7/sync"} {
			response, _ := person.do(t, http.MethodPost, path, url.Values{"action": {"update"}}, foreign...)
			require.Equal(t, http.StatusForbidden, response.StatusCode, "%s %v", path, foreign)
		}
	}
	paused, err := b.contacts.Paused(t.Context())
	require.NoError(t, err)
	require.False(t, paused)
}

// A site's password leads to nothing that it does not open.
func TestASitesPasswordSeesLinksToItsSiteAlone(t *testing.T) {
	s := newSeveral(t, "shop", "blog")
	for user, password := range map[string]string{"shop": ownPassword("shop"), admin.User: wholePassword} {
		person := newBrowser(t, s.url)
		response, _ := person.do(t, http.MethodPost, "/login?site=shop", url.Values{"password": {password}})
		require.Equal(t, http.StatusSeeOther, response.StatusCode)
		response, page := person.do(t, http.MethodGet, "/?site=shop", nil)
		require.Equal(t, http.StatusOK, response.StatusCode)
		_, basic := s.call(t, http.MethodGet, "/?site=shop", user, password)
		for _, link := range []string{`href="/"`, `href="/replicas"`, `href="/monitor"`} {
			require.Equal(t, user == admin.User, strings.Contains(page, link), "%s: %s", user, link)
			require.Equal(t, user == admin.User, strings.Contains(basic, link), "%s: %s", user, link)
		}
	}
}

func TestALinkFromElsewhereComesBackWithItsSession(t *testing.T) {
	b := setup(t, password)
	response, page := b.browser(t).do(t, http.MethodGet, "/contacts/7", nil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate")
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Contains(t, page, `content="0; url=/contacts/7"`)
	_, page = b.browser(t).do(t, http.MethodGet, "//evil.example/login", nil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate")
	require.Contains(t, page, `content="0; url=/"`)
	require.NotContains(t, page, "evil", "it sends nobody elsewhere")
}

func TestGuessingIsHeldForBasicAndForThePage(t *testing.T) {
	b := setup(t, password)
	for range 10 {
		status, _ := call(t, http.MethodGet, b.url+"/api/v1/stats", "guess")
		require.Equal(t, http.StatusUnauthorized, status)
	}
	status, body := call(t, http.MethodGet, b.url+"/api/v1/stats", password)
	require.Equal(t, http.StatusTooManyRequests, status, "nobody learns that this one is right")
	require.Contains(t, body, "too_many_attempts")
	response := b.browser(t).login(t, password)
	require.Equal(t, http.StatusTooManyRequests, response.StatusCode)
	require.NotEmpty(t, response.Header.Get("Retry-After"))
}

func TestAScriptWhoseSessionEndedRaisesNoDialog(t *testing.T) {
	b := setup(t, password)
	response, _ := b.browser(t).do(t, http.MethodGet, "/events?view=now", nil, "Accept", "text/event-stream", "Sec-Fetch-Mode", "cors")
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
	require.Empty(t, response.Header.Get("WWW-Authenticate"))
}

func TestPagesForbidScriptsInThemAndTheMonitorLoadsNothingForeign(t *testing.T) {
	b := setup(t, "")
	for _, path := range []string{"/", "/parked", "/replicas", "/contacts/7"} {
		response, page := b.browser(t).do(t, http.MethodGet, path, nil)
		policy := response.Header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'")
		require.NotContains(t, policy, "unsafe")
		require.NotContains(t, page, "style=")
		require.NotContains(t, page, "onclick")
		require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
	}
	response, _ := b.browser(t).do(t, http.MethodGet, "/monitor", nil)
	require.Contains(t, response.Header.Get("Content-Security-Policy"), "default-src 'self'")
	for _, asset := range []string{"app.css", "app.js", "icon.svg"} {
		response, _ = b.browser(t).do(t, http.MethodGet, "/assets/"+asset, nil)
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.Contains(t, response.Header.Get("Cache-Control"), "immutable")
	}
	response, _ = b.browser(t).do(t, http.MethodGet, "/assets/..%2ftemplates%2flogin.html", nil)
	require.Equal(t, http.StatusNotFound, response.StatusCode)
}

func TestTheFirstPageShowsWhatThereIsToKnow(t *testing.T) {
	b := setup(t, "")
	b.park(t, "8")
	counter := refusals.New(b.redis.Client())
	for range 7 {
		counter.Count("", "invalid_access_key")
	}
	require.NoError(t, counter.Flush(t.Context()))
	require.NoError(t, roster.New(b.redis.Client()).Beat(t.Context(), roster.Replica{ID: "w", Role: roster.Worker, Host: "machine-two", Concurrency: 64}))
	_, page := b.browser(t).do(t, http.MethodGet, "/", nil)
	for _, text := range []string{
		"1 parked: a pass failed for good", "the contact has &lt;no&gt; email", "machine-two", "invalid_access_key",
		"Webhooks with a wrong access key were refused", "The CRM is away, so nothing calls it: it answers 503", "rate", "40/s",
	} {
		require.Contains(t, page, text)
	}
	require.NotContains(t, page, "All is synced", "one is parked")
	require.NotContains(t, page, "mode ")
	relaying := b.replica(t, "", func(o *admin.Options) { o.Mode = "relay" })
	visitor := b.browser(t)
	visitor.url = relaying
	_, shown := visitor.do(t, http.MethodGet, "/", nil)
	require.Contains(t, shown, "mode relay")
	require.NotContains(t, shown, "The CRM is away", "nobody calls it")
	_, shown = visitor.do(t, http.MethodGet, "/api/v1/sites", nil)
	require.Contains(t, shown, `"mode":"relay"`)
	_, page = b.browser(t).do(t, http.MethodGet, "/replicas", nil)
	require.Contains(t, page, "SPILLWAY_ADMIN_PASSWORD")
	require.Contains(t, page, "(set)")
}

func TestAContactsPageTellsItsStoryAndLinksToBothSystems(t *testing.T) {
	b := setup(t, "")
	ref := contact.Ref{Site: contact.DefaultSite, ID: "7"}
	event := history.Event{
		Time: time.Now(), Kind: history.Synced, Action: "add", Outcome: "created", UserID: 42, Notes: []string{"role_not_allowed", "other_contact:9"},
		Waited: 1500, Took: 250, PasswordReturned: true, Covered: 12,
		Webhooks: []contact.Receipt{{At: time.Now(), Action: contact.Add, RequestID: "req-17"}},
	}
	require.NoError(t, b.redis.Client().LPush(t.Context(), shard.Timeline("spillway", ref), event.Encode()).Err())
	_, page := b.browser(t).do(t, http.MethodGet, "/contacts/7", nil)
	for _, text := range []string{
		"https://crm.example/crm/contact/7/edit", "https://site.example/wp-admin/user-edit.php?user_id=42",
		"created", "role_not_allowed", "SPILLWAY_ROLES_ALLOWED", "belongs to contact 9", "waited 1.5 s, took 250 ms",
		"password returned to the CRM", "12 webhooks", "req-17", "Spillway keeps only the latest one by one",
	} {
		require.Contains(t, page, text)
	}
	response, page := b.browser(t).do(t, http.MethodGet, "/contacts/x", nil)
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.Contains(t, page, "positive whole number")
}

func TestSearchLeadsToAContactAndRepeatsNoAddress(t *testing.T) {
	b := setup(t, "")
	find := func(q string) (*http.Response, string) {
		return b.browser(t).do(t, http.MethodPost, "/contacts/find", url.Values{"q": {q}})
	}
	response, _ := find(" 17 ")
	require.Equal(t, "/contacts/17", response.Header.Get("Location"))
	response, _ = find("ann@example.org")
	require.Equal(t, "/contacts/7", response.Header.Get("Location"))
	_, page := find("both@example.org")
	require.Contains(t, page, `href="/contacts/8"`)
	require.Contains(t, page, `href="/contacts/9"`)
	_, page = find("nobody@example.org")
	require.Contains(t, page, "No contact with this address")
	require.NotContains(t, page, "nobody@")
	response, _ = find("ann")
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.NotContains(t, b.log.String(), "example.org")
}

func TestFormsSteerContactsAndThePause(t *testing.T) {
	b := setup(t, "")
	person := b.browser(t)
	post := func(path string, form url.Values) string {
		response, body := person.do(t, http.MethodPost, path, form)
		require.Equal(t, http.StatusSeeOther, response.StatusCode, body)
		return response.Header.Get("Location")
	}
	state := func(id string) pending.State {
		record, err := b.contacts.Lookup(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: id})
		require.NoError(t, err)
		return record.State
	}
	back := post("/contacts/7/sync", url.Values{"action": {"add"}})
	require.Equal(t, pending.Pending, state("7"))
	_, page := person.do(t, http.MethodGet, back, nil)
	require.Contains(t, page, "The contact is queued")

	for _, id := range []string{"8", "9", "10"} {
		b.park(t, id)
	}
	require.Equal(t, "/parked?done=retry&n=1", post("/parked/8/retry", url.Values{}))
	require.Equal(t, pending.Pending, state("8"))
	require.Equal(t, "/parked?done=drop&n=1", post("/parked/9/drop", url.Values{}))
	require.Equal(t, pending.Idle, state("9"))
	require.Equal(t, "/parked?done=drop&n=0", post("/parked/8/drop", url.Values{}))
	require.Equal(t, pending.Pending, state("8"), "only a parked contact is dropped")
	require.Equal(t, "/parked?done=retry&n=1", post("/parked/retry", url.Values{}))
	require.Equal(t, pending.Pending, state("10"))

	post("/pause", url.Values{})
	_, page = person.do(t, http.MethodGet, "/", nil)
	require.Contains(t, page, "Paused: webhooks are taken, contacts wait")
	post("/resume", url.Values{})
	_, page = person.do(t, http.MethodGet, "/", nil)
	require.NotContains(t, page, "Paused:")
}

func TestTheAPITellsSeriesReplicasRefusalsAndThePause(t *testing.T) {
	b := setup(t, "")
	b.park(t, "8")
	status, body := call(t, http.MethodGet, b.url+"/api/v1/series?step=minute&n=5", "")
	require.Equal(t, http.StatusOK, status)
	var series struct {
		Step   string
		Points []history.Point
	}
	require.NoError(t, json.Unmarshal([]byte(body), &series))
	require.Len(t, series.Points, 5)
	require.EqualValues(t, 1, series.Points[3].Received+series.Points[4].Received)
	status, body = call(t, http.MethodGet, b.url+"/api/v1/series?step=second", "")
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, body, "invalid_step")

	require.NoError(t, roster.New(b.redis.Client()).Beat(t.Context(), roster.Replica{ID: "w", Role: roster.Worker}))
	_, body = call(t, http.MethodGet, b.url+"/api/v1/replicas", "")
	require.Contains(t, body, `"role":"worker"`)
	_, body = call(t, http.MethodGet, b.url+"/api/v1/refusals", "")
	require.JSONEq(t, `{"codes":[]}`, body)

	_, body = call(t, http.MethodPost, b.url+"/api/v1/pause", "")
	require.JSONEq(t, `{"paused":true}`, body)
	_, body = call(t, http.MethodGet, b.url+"/api/v1/stats", "")
	require.Contains(t, body, `"paused":true`)
	require.Contains(t, body, `"system":"crm","state":"open"`)
	_, _ = call(t, http.MethodPost, b.url+"/api/v1/resume", "")
	_, body = call(t, http.MethodGet, b.url+"/api/v1/stats", "")
	require.Contains(t, body, `"paused":false`)

	status, _ = call(t, http.MethodDelete, b.url+"/api/v1/parked/8", "")
	require.Equal(t, http.StatusOK, status)
	status, body = call(t, http.MethodDelete, b.url+"/api/v1/parked/8", "")
	require.Equal(t, http.StatusNotFound, status)
	require.Contains(t, body, "not_parked")
}

// stream reads a page's events until the wanted text has come.
func stream(t *testing.T, ctx context.Context, url string) (next func(wanted string), ended func() bool) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	next = func(wanted string) {
		for lines.Scan() {
			if strings.Contains(lines.Text(), wanted) {
				return
			}
		}
		require.Fail(t, "the stream ended", "without %q: %v", wanted, lines.Err())
	}
	return next, func() bool {
		for lines.Scan() {
			continue
		}
		return lines.Err() == nil
	}
}

func TestPagesUpdateThemselvesUntilTheProcessStops(t *testing.T) {
	b := setup(t, "")
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- b.dashboard.Run(ctx) }()
	nextNow, nowEnds := stream(t, t.Context(), b.url+"/events?view=now:3h")
	nextContact, _ := stream(t, t.Context(), b.url+"/events?view=contact:8")
	nextNow("live-chart")
	nextContact("nothing is outstanding")
	b.park(t, "8")
	nextNow("1 parked: a pass failed for good")
	nextContact("no_email")
	late, _ := stream(t, t.Context(), b.url+"/events?view=now:3h")
	late("1 parked: a pass failed for good")

	b.redis.Kill()
	nextNow("Redis does not answer")
	b.redis.Restart()
	nextNow(`"live-problem","html":""`)
	stop()
	require.NoError(t, <-stopped)
	require.True(t, nowEnds(), "the stream ends in order")
	status, body := call(t, http.MethodGet, b.url+"/events?view=now", "")
	require.Equal(t, http.StatusServiceUnavailable, status, body)
	status, _ = call(t, http.MethodGet, b.url+"/events?view=elsewhere", "")
	require.Equal(t, http.StatusBadRequest, status)
}

func TestMonitorIsReadOnlyUnlessAllowed(t *testing.T) {
	b := setup(t, "")
	_, err := b.contacts.Submit(t.Context(), contact.Ref{Site: contact.DefaultSite, ID: "7"}, contact.Intent{Action: contact.Update}, contact.Receipt{})
	require.NoError(t, err)
	status, _ := call(t, http.MethodPost, b.url+"/monitor/api/queues/spillway:pause", "")
	require.Equal(t, http.StatusMethodNotAllowed, status)
	status, _ = call(t, http.MethodPost, b.replica(t, "", func(o *admin.Options) { o.MonitorWritable = true })+"/monitor/api/queues/spillway:pause", "")
	require.Equal(t, http.StatusNoContent, status)
}

func TestTheFirstPageSaysWhenTheLastWebhookCame(t *testing.T) {
	b := setup(t, "")
	_, page := b.browser(t).do(t, http.MethodGet, "/", nil)
	require.NotContains(t, page, "last webhook")
	require.NotContains(t, apiText(t, b, "/api/v1/stats"), "last_webhook")

	b.park(t, "7")
	stats := apiText(t, b, "/api/v1/stats")
	require.Contains(t, stats, `"last_webhook":"`)
	at := time.Now().Add(-3 * time.Minute).UnixMilli()
	require.NoError(t, b.redis.Client().HSet(t.Context(), "spw:{spillway}:stats", "last_webhook", at).Err())
	_, page = b.browser(t).do(t, http.MethodGet, "/", nil)
	require.Regexp(t, `id="last-webhook">last webhook <time [^>]*>3 min ago</time>`, page)
}

func apiText(t *testing.T, b *bundle, path string) string {
	t.Helper()
	status, body := call(t, http.MethodGet, b.url+path, "")
	require.Equal(t, http.StatusOK, status)
	return body
}
