package relay_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/relay"
	"spillway/internal/syncer"
)

const accessKey = "k3y0f-wpf"

// free are slots, breaker and guard that hold nothing back.
type free struct{}

func (free) Acquire(context.Context) (func(), error) { return func() {}, nil }

func (free) Allow(context.Context) error                                                   { return nil }
func (free) Succeeded(context.Context)                                                     {}
func (free) Failed(context.Context, int, time.Duration, string)                            {}
func (free) Sending(context.Context)                                                       {}
func (free) Unsent(context.Context)                                                        {}
func (free) Answered(context.Context, int, time.Duration, time.Duration) (p time.Duration) { return p }

func (free) Refused(context.Context, time.Duration) (p time.Duration) { return p }

func client(t *testing.T, address string, change func(*relay.Options)) *relay.Client {
	t.Helper()
	options := relay.Options{
		URL: address, AccessKey: accessKey, RolesAllowed: []string{"subscriber", "customer", "shop_manager"}, Concurrency: 1,
		Slots: free{}, Breaker: free{}, Guard: free{},
	}
	if change != nil {
		change(&options)
	}
	c, err := relay.New(options)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// serve answers requests for a contact as the handler does, and tests well.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("wpf_action") == "test" {
			_, _ = w.Write([]byte(`{"success":true}`))
			return
		}
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// page is how WordPress gives up, in HTML.
func page(title, message string) string {
	return `<!DOCTYPE html><html lang="en-US"><head><title>` + title + `</title><style>body{color:#444}</style></head>
<body id="error-page"><div class="wp-die-message">` + message + `</div></body></html>`
}

const loaded = "<br /><br />Loaded tags:<pre>Array()</pre><br />Loaded meta:<pre>Array\n(\n    [billing_company] => one\n    [role] => administrator\n\n    [user_registered] => 2020-01-01 00:00:00\n    [role] => customer\n)\n</pre>"

func TestWhatWPFusionAnswersIsUnderstood(t *testing.T) {
	t.Parallel()
	errorsPage, err := os.ReadFile("../../docs/errors.md")
	require.NoError(t, err)
	_, documented, ok := strings.Cut(string(errorsPage), "# What keeps Spillway out of the site")
	require.True(t, ok)
	done := func(outcome contact.Outcome, user int64, notes ...string) contact.Result {
		return contact.Result{Outcome: outcome, UserID: user, Notes: notes}
	}
	for name, test := range map[string]struct {
		action  string // empty: update
		status  int    // 0: 200
		header  http.Header
		body    string
		want    contact.Result
		verdict syncer.Verdict // of what is no result
		code    string
		says    string
	}{
		"an update": {body: page("Success", "<h3>Success</h3>Updated user meta:<pre>Array\n(\n    [first_name] => A\n)\n</pre><br />Updated tags:<pre>Array\n(\n)\n</pre>"), want: done(contact.Updated, 0)},
		"an update in JSON": {
			body: `{"code":"wp_die","message":"<h3>Success<\/h3>Updated user meta:<pre>Array\n(\n    [first_name] => A\n)\n<\/pre><br \/>Updated tags:<pre>Array\n(\n)\n<\/pre>","data":{"status":200}}`,
			want: done(contact.Updated, 0),
		},
		"tags, of which there are none": {action: "update_tags", body: page("Success", "<h3>Success</h3>Updated tags:<pre>Array\n(\n)\n</pre>"), want: done(contact.Updated, 0)},
		"words of another version":      {body: page("Success", "<h3>Success</h3>All is new."), want: done(contact.Updated, 0)},
		"a bare word":                   {body: "Success", want: done(contact.Updated, 0)},
		"JSON that says yes":            {body: "\xef\xbb\xbf" + `{"success":true}`, want: done(contact.Updated, 0)},
		"PHP's messages around JSON": {
			body:   "<br />\n<b>Warning</b>:  Array {closure} in <b>x.php</b><br />\n" + `{"code":"wp_die","message":"<h3>Success<\/h3>Updated tags:<pre>Array\n(\n)\n<\/pre>","data":{"status":200}}` + "\nNotice: {\"x\":1}",
			action: "update_tags", want: done(contact.Updated, 0),
		},
		"PHP's messages before a no": {body: "\nNotice: Undefined index: x in y.php on line 3\n" + `{"success":false}`, verdict: syncer.TryAgain, code: "failed"},
		"a page of the site's own": {
			body: "<!DOCTYPE html><title>Success</title><body><nav>Home</nav><h3>Success</h3>Updated tags:<pre>Array\n(\n)\n</pre>",
			code: "outage", says: "relay_no_endpoint", // what comes before the words could be anything
		},
		"a user who was there": {
			action: "add", header: http.Header{"Date": {"Sun, 29 Nov 2026 12:00:00 GMT"}},
			body: page("Success", "<h3>Success</h3>User imported with ID 12. "+loaded), want: contact.Result{Outcome: contact.Updated, UserID: 12, Role: "customer"},
		},
		"a user who is new": {
			action: "add", header: http.Header{"Date": {"Wed, 01 Jan 2020 00:00:02 GMT"}},
			body: page("Success", "<h3>Success</h3>User imported with ID 12. "+loaded), want: contact.Result{Outcome: contact.Created, UserID: 12, Role: "customer"},
		},
		"a user of an old version": {action: "add", body: page("Success", "<h3>Success</h3>User imported with ID 12"), want: done(contact.Created, 12, "relay_created_or_linked")},
		"no user":                  {body: page("Not Found", "No matching user found"), want: done(contact.Skipped, 0)},
		"a queue of its own":       {body: page("Success", "<h3>Success</h3>Contact #7 pushed to async queue."), want: done(contact.Updated, 0, "relay_queued")},

		"an ignored duplicate": {
			body:    page("Doing it wrong", "<strong>Doing it wrong:</strong> An <strong>update</strong> webhook is already being processed for contact #7."),
			verdict: syncer.Wait, code: "site_busy", says: "another request for contact 7",
		},
		"success without a user":      {action: "add", body: page("Success", "<h3>Success</h3>User imported with ID . <br />Loaded tags:<pre></pre>"), verdict: syncer.TryAgain, code: "relay_no_user", says: "names no user"},
		"success with user 0":         {action: "add", body: page("Success", "<h3>Success</h3>User imported with ID 0. <br />"), verdict: syncer.TryAgain, code: "relay_no_user"},
		"success with an error in it": {body: page("Success", "<h3>Success</h3>Updated user meta:<pre>WP_Error Object\n(\n    [errors] => x</pre><br />Updated tags:<pre>Array()</pre>"), verdict: syncer.TryAgain, code: "failed", says: "the CRM did not give it"},
		"success with nothing in it":  {body: page("Success", "<h3>Success</h3>Updated user meta:<pre></pre><br />Updated tags:<pre>Array()</pre>"), verdict: syncer.TryAgain, code: "failed", says: "the CRM did not give it"},
		"tags that are an error":      {action: "update_tags", body: page("Success", "<h3>Success</h3>Updated tags:<pre>WP_Error Object\n(</pre>"), verdict: syncer.TryAgain, code: "failed"},
		"JSON that says no":           {body: `{"success":false}`, verdict: syncer.TryAgain, code: "failed"},
		"a contact that may not be":   {body: page("Abort", "<h3>Abort</h3>Contact data not found or contact not eligible for update."), verdict: syncer.Park, code: "relay_not_eligible"},
		"no address": {
			action: "add", status: 500, body: page("WordPress › Error", "<h3>Error</h3>Import user failed for contact ID <strong>7</strong>. Error: No email provided for imported user"),
			verdict: syncer.Park, code: "no_email",
		},
		"a failed import": {
			action: "add", status: 500, body: page("WordPress › Error", "<h3>Error</h3>Import user failed for contact ID <strong>7</strong>. Error: anna@example.com is nobody"),
			verdict: syncer.TryAgain, code: "failed", says: "«(address) is nobody»",
		},
		"a critical error": {status: 500, body: `{"code":"internal_server_error","message":"<p>There has been a critical error</p>"}`, verdict: syncer.TryAgain, code: "site_fatal"},

		"a wrong key":              {status: 403, body: page("Invalid Access Key", "Invalid Access Key"), code: "outage", says: "relay_key"},
		"a wrong key in JSON":      {status: 403, body: `{"code":"wp_die","message":"Invalid Access Key","data":{"status":403}}`, code: "outage", says: "relay_key"},
		"another 403":              {status: 403, body: "<html><title>Blocked</title>", code: "outage", says: "refused_page"},
		"a page that is not there": {status: 404, body: page("Nothing here", "x"), code: "outage", says: "relay_no_endpoint"},
		"the Lite edition":         {status: 200, body: page("WordPress › Error", "Webhook received but WP Fusion Lite does not support webhooks."), code: "outage", says: "does not support webhooks"},
		"a page of the site":       {body: "<!DOCTYPE html><title>My shop</title><p>Success</p>", code: "outage", says: "«My shop»"},
		"a captcha with 200":       {header: http.Header{"Sg-Captcha": {"challenge"}}, body: "<html><title>Robot Challenge Screen</title>", code: "outage", says: "challenge"},
		"a login wall":             {status: 302, header: http.Header{"Location": {"https://elsewhere.example/login?to=%2F"}}, code: "outage", says: "https://elsewhere.example and"},
		"the web server's login":   {status: 401, header: http.Header{"Www-Authenticate": {"Basic"}}, code: "outage", says: "server_password"},
		"too many":                 {status: 429, header: http.Header{"Retry-After": {"17"}}, code: "outage", says: "rate_limited"},
		"maintenance":              {status: 503, header: http.Header{"Retry-After": {"600"}}, body: page("Maintenance", "Briefly unavailable"), code: "outage", says: "status 503"},
		"PHP is gone":              {status: 502, body: "<html><title>502</title>", code: "outage", says: "status 502"},
		"PHP took too long":        {status: 504, body: "<html><title>504</title>", code: "outage", says: "whether WP Fusion went on is not known"},
		"nothing":                  {body: "", code: "outage", says: "relay_no_endpoint"},
		"Spillway":                 {status: 508, body: `{"error":{"code":"relay_circle","message":"…"}}`, code: "relay_circle", says: "X-Spillway-Relay"},
		"an older Spillway":        {body: `{"status":"queued","contact_id":"7","action":"update","coalesced":true}`, code: "relay_circle"},
		"Spillway of another site": {status: 403, body: `{"error":{"code":"invalid_access_key","message":"…"}}`, code: "relay_circle"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				for name, values := range test.header {
					w.Header()[name] = values
				}
				if test.status != 0 {
					w.WriteHeader(test.status)
				}
				_, _ = w.Write([]byte(test.body))
			})
			change := contact.Change{ContactID: "7", Action: test.action}
			if change.Action == "" {
				change.Action = "update"
			}
			result, err := client(t, address, nil).Store(t.Context(), change)
			if test.code == "" {
				require.NoError(t, err)
				require.Equal(t, test.want, result)
				return
			}
			require.Error(t, err)
			judgement := syncer.Judge(err, 0)
			require.Equal(t, test.verdict, judgement.Verdict, "%v", err)
			require.Equal(t, test.code, judgement.Code, "%v", err)
			require.Contains(t, err.Error(), test.says)
			var hindered *relay.Hindered
			if errors.As(err, &hindered) {
				require.Contains(t, documented, "`"+hindered.Reason+"`")
			}
			require.NotContains(t, err.Error(), accessKey)
			require.NotContains(t, err.Error(), "anna@")
		})
	}
}

func TestARequestIsOneOfWPFusionsAndCarriesItsMark(t *testing.T) {
	t.Parallel()
	var got atomic.Pointer[http.Request]
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.Clone(context.Background()))
		_, _ = w.Write([]byte("Success"))
	})
	c := client(t, address+"/blog", nil)
	for name, test := range map[string]struct {
		change contact.Change
		query  url.Values
		notes  []string
	}{
		"update":          {contact.Change{Action: "update"}, url.Values{}, nil},
		"tags ask for no": {contact.Change{Action: "update_tags", Role: "subscriber", Notify: true}, url.Values{}, nil},
		"role and mail":   {contact.Change{Action: "add", Role: "Shop Manager", Notify: true}, url.Values{"role": {"shop_manager"}, "send_notification": {"true"}}, nil},
		"no mail":         {contact.Change{Action: "update", Notify: true}, url.Values{}, nil},
		"staff":           {contact.Change{Action: "update", Role: "Administrator"}, url.Values{}, []string{"role_not_allowed"}},
	} {
		test.change.ContactID = "7"
		test.query["wpf_action"], test.query["access_key"], test.query["contact_id"] = []string{test.change.Action}, []string{accessKey}, []string{"7"}
		result, err := c.Store(t.Context(), test.change)
		require.NoError(t, err, name)
		require.Equal(t, test.notes, result.Notes, name)
		request := got.Load()
		require.Equal(t, test.query, request.URL.Query(), name)
		require.Equal(t, "/blog/", request.URL.Path)
		require.Equal(t, http.MethodPost, request.Method)
		require.Equal(t, relay.Proof(accessKey), request.Header.Get("X-Spillway-Relay"))
	}
	require.NotEqual(t, relay.Proof("another key"), relay.Proof(accessKey))
	require.Len(t, relay.Proof(accessKey), 32)
}

// Of several contacts in a row that fail the site or the CRM is to blame, and
// they wait; one that succeeds between them shows that it is not.
func TestWhatFailsWithAllContactsIsNoFaultOfTheirs(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]struct {
		status     int
		body, says string
	}{
		"the CRM refuses WP Fusion": {200, page("Success", "<h3>Success</h3>Updated user meta:<pre>WP_Error Object</pre>"), "relay_crm"},
		"each request dies":         {500, "", "one contact after the other"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("contact_id") == "9" {
					_, _ = w.Write([]byte("Success"))
					return
				}
				w.WriteHeader(answer.status)
				_, _ = w.Write([]byte(answer.body))
			}), nil)
			store := func(id string) syncer.Judgement {
				_, err := c.Store(t.Context(), contact.Change{ContactID: id, Action: "update"})
				if err == nil {
					return syncer.Judgement{}
				}
				if judgement := syncer.Judge(err, 0); judgement.Verdict == syncer.Wait {
					require.Contains(t, err.Error(), answer.says)
				}
				return syncer.Judge(err, 0)
			}
			for range 3 {
				require.Equal(t, syncer.TryAgain, store("1").Verdict)
			}
			require.Equal(t, syncer.Wait, store("2").Verdict)
			store("9")
			require.Equal(t, syncer.TryAgain, store("3").Verdict)
		})
	}
}

// A lone contact with which the request dies is blamed only while the endpoint
// itself is well.
func TestASiteThatIsDownIsAnOutage(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	t.Cleanup(server.Close)
	_, err := client(t, server.URL, nil).Store(t.Context(), contact.Change{ContactID: "7", Action: "update"})
	require.Equal(t, syncer.Wait, syncer.Judge(err, 0).Verdict, "%v", err)

	server.Close()
	_, err = client(t, server.URL, nil).Store(t.Context(), contact.Change{ContactID: "7", Action: "update"})
	require.Equal(t, syncer.Wait, syncer.Judge(err, 0).Verdict, "%v", err)
	require.Contains(t, err.Error(), "no connection")
}

func TestNoRedirectTakesTheKeyElsewhere(t *testing.T) {
	t.Parallel()
	var asked atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 307, 308} {
		address := serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/?"+r.URL.RawQuery, status)
		})
		_, err := client(t, address, nil).Store(t.Context(), contact.Change{ContactID: "7", Action: "update"})
		require.Equal(t, "outage", syncer.Judge(err, 0).Code)
		require.NotContains(t, err.Error(), accessKey)
	}
	require.False(t, asked.Load())
}

// A pass without time for a whole request sends none, and its contact keeps its
// place.
func TestAPassWithoutTimeSendsNothing(t *testing.T) {
	t.Parallel()
	var asked atomic.Bool
	c := client(t, serve(t, func(http.ResponseWriter, *http.Request) { asked.Store(true) }), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := c.Store(ctx, contact.Change{ContactID: "7", Action: "update"})
	require.Equal(t, syncer.Yield, syncer.Judge(err, 0).Verdict, "%v", err)
	require.False(t, asked.Load())
}

func TestTheEndpointIsTested(t *testing.T) {
	t.Parallel()
	require.NoError(t, client(t, serve(t, nil), nil).Test(t.Context()))
	for says, handler := range map[string]http.HandlerFunc{
		"relay_key": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(page("", "Invalid Access Key")))
		},
		"relay_circle": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusLoopDetected)
			_, _ = w.Write([]byte(`{"error":{"code":"relay_circle"}}`))
		},
		"relay_no_endpoint": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html><title>Shop</title>")) },
	} {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		err := client(t, server.URL, nil).Test(t.Context())
		var hindered *relay.Hindered
		require.ErrorAs(t, err, &hindered)
		require.Equal(t, says, hindered.Reason)
	}
}
