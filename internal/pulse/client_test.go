package pulse_test

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/pulse"
)

const token = "tok-1234567890"

// setup returns a client of a CRM that answers by handler.
func setup(t *testing.T, handler http.HandlerFunc, change ...func(*pulse.Options)) *pulse.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	o := pulse.Options{URL: server.URL, Tokens: pulse.Fixed(token), Timeout: 20 * time.Second}
	for _, f := range change {
		f(&o)
	}
	client, err := pulse.New(o)
	require.NoError(t, err)
	return client
}

// says answers every request alike.
func says(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func requireOutage(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	_, ok := contact.AsOutage(err)
	require.True(t, ok, "%v", err)
}

func requireOutageFor(t *testing.T, want time.Duration, err error) {
	t.Helper()
	requireOutage(t, err)
	outage, _ := contact.AsOutage(err)
	require.Equal(t, want, outage.Outage())
}

func TestAContactsRecordIsReadAsItStands(t *testing.T) {
	t.Parallel()
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/api/v1/contacts/123" || r.Header.Get("Authorization") != "Bearer "+token ||
			r.Header.Get("Accept") != "application/json" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		_, _ = io.WriteString(w, "\xef\xbb\xbf"+`{"id":123,"email":"a@example.com","big":12345678901234567890,"none":null,"error":"a field","address_1.city":"Ur"}`)
	})
	record, err := client.Contact(t.Context(), "123")
	require.NoError(t, err)
	require.Equal(t, map[string]any{
		"id": json.Number("123"), "email": "a@example.com", "big": json.Number("12345678901234567890"),
		"none": nil, "error": "a field", "address_1.city": "Ur",
	}, record)
}

func TestRecordsAreAcceptedInTheShapesTheyMayHave(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"id as text": `{"id":"7","email":"a@example.com"}`,
		"no id":      `{"email":"a@example.com"}`,
		"null id":    `{"id":null,"email":null}`,
		"no email":   `{"id":7}`,
		"wrapped":    `{"data":{"id":7,"email":"a@example.com"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record, err := setup(t, says(200, body)).Contact(t.Context(), "7")
			require.NoError(t, err)
			require.NotEmpty(t, record)
		})
	}
}

func TestAMissingContactIsRefusedForGood(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"404 with the text": says(404, `{"error":"Contact not found"}`),
		"404 with nothing":  says(404, ""),
		"404 in plain text": says(404, "404 page not found"),
		"400 with the text": says(400, `{"error":"Contact not found."}`),
		"200 with the text": says(200, `{"error":"Contact not found"}`),
		"a message":         says(404, `{"message":"contact not found"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := setup(t, handler)
			_, contactErr := client.Contact(t.Context(), "7")
			_, tagsErr := client.Tags(t.Context(), "7")
			updateErr := client.Update(t.Context(), "7", map[string]string{"a": "b"})
			for _, err := range []error{contactErr, tagsErr, updateErr} {
				require.ErrorIs(t, err, pulse.ErrNotFound)
				refusal, ok := contact.AsRefusal(err)
				require.True(t, ok)
				require.Equal(t, "contact_not_found", refusal.Refusal())
			}
		})
	}
}

func TestIDsThatAreNoneAreRefusedWithoutACall(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	client := setup(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	for _, id := range []string{"", "..", "1/tags", "1?a=b", "ann@example.com", "-1"} {
		_, err := client.Contact(t.Context(), id)
		_, tagsErr := client.Tags(t.Context(), id)
		for _, err := range []error{err, tagsErr, client.Update(t.Context(), id, map[string]string{"a": "b"})} {
			refusal, ok := contact.AsRefusal(err)
			require.True(t, ok)
			require.Equal(t, "invalid_contact_id", refusal.Refusal())
			require.NotContains(t, err.Error(), "ann@")
		}
	}
	require.Zero(t, calls.Load())
}

func TestOutagesAreToldFromFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		after   time.Duration
		text    string
	}{
		"500":              {says(500, `{"error":"Server Error"}`), 0, "status 500"},
		"502 as a page":    {says(502, "<html>Bad gateway</html>"), 0, "status 502"},
		"503 and when":     {says(503, "", "Retry-After", "7"), 7 * time.Second, "status 503"},
		"429":              {says(429, `{"message":"Too Many Attempts."}`, "Retry-After", "30"), 30 * time.Second, "status 429"},
		"429, no time":     {says(429, ""), 0, "status 429"},
		"429, endless":     {says(429, "", "Retry-After", "1e300"), time.Hour, "status 429"},
		"429, odd time":    {says(429, "", "Retry-After", "NaN"), 0, "status 429"},
		"429, past date":   {says(429, "", "Retry-After", "Thu, 01 Jan 1970 00:00:00 GMT"), 0, "status 429"},
		"408":              {says(408, ""), 0, "status 408"},
		"a page":           {says(200, "<!doctype html><title>Maintenance</title>"), 0, "else than JSON"},
		"cut JSON":         {says(200, `{"id":7,"email":"a@exam`), 0, "else than JSON"},
		"two JSON values":  {says(200, `{"id":7}{"id":8}`), 0, "else than JSON"},
		"nothing":          {says(200, ""), 0, "else than JSON"},
		"404 as a page":    {says(404, "<html>nginx</html>"), time.Minute, "SPILLWAY_CRM_URL"},
		"404 of no route":  {says(404, `{"message":"The route api/v1/contacts/7 could not be found."}`), time.Minute, "SPILLWAY_CRM_URL"},
		"403":              {says(403, `{"error":"Forbidden"}`), time.Minute, "SPILLWAY_CRM_TOKEN"},
		"401":              {says(401, `{"message":"Unauthenticated."}`), time.Minute, "SPILLWAY_CRM_TOKEN"},
		"redirect":         {says(302, "", "Location", "https://login.example.com/in?next=secret"), time.Minute, "https://login.example.com:"},
		"200 for 429":      {says(200, `{"message":"Too Many Attempts."}`), 0, "status 429"},
		"200 for 401":      {says(200, `{"error":"Unauthenticated."}`), time.Minute, "SPILLWAY_CRM_TOKEN"},
		"400 for 401":      {says(400, `{"error":"invalid_token","error_description":"secret"}`), time.Minute, "SPILLWAY_CRM_TOKEN"},
		"200 for 500":      {says(200, `{"status":"error","message":"Server Error"}`), 0, "status 503"},
		"broken redirect":  {says(302, "", "Location", "http://secret\x7f"), 0, "connection failed"},
		"body cut short":   {says(200, `{"id":7}`, "Content-Length", "500"), 0, "before the answer was whole"},
		"connection reset": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, "before the answer was whole"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := setup(t, c.handler)
			_, contactErr := client.Contact(t.Context(), "7")
			_, tagsErr := client.Tags(t.Context(), "7")
			for _, err := range []error{contactErr, tagsErr} {
				requireOutageFor(t, c.after, err)
				require.ErrorContains(t, err, c.text)
				require.NotContains(t, err.Error(), "secret")
				require.NotContains(t, err.Error(), token)
				require.NotContains(t, err.Error(), "exam\"")
				var unavailable *pulse.Unavailable
				require.ErrorAs(t, err, &unavailable)
			}
		})
	}
}

func TestARetryDateIsReadByTheCRMsClock(t *testing.T) {
	t.Parallel()
	client := setup(t, says(503, "", "Date", "Fri, 02 Jan 1970 00:00:00 GMT", "Retry-After", "Fri, 02 Jan 1970 00:01:30 GMT"))
	_, err := client.Contact(t.Context(), "7")
	requireOutageFor(t, 90*time.Second, err)
}

func TestNoAnswerIsAnOutage(t *testing.T) {
	t.Parallel()
	t.Run("hanging", func(t *testing.T) {
		t.Parallel()
		client := setup(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			func(o *pulse.Options) { o.Timeout = 50 * time.Millisecond })
		_, err := client.Contact(t.Context(), "7")
		requireOutage(t, err)
		require.ErrorContains(t, err, "reading contact 7: no answer within 50ms")
	})
	t.Run("hanging within the body", func(t *testing.T) {
		t.Parallel()
		client := setup(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"id":`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, func(o *pulse.Options) { o.Timeout = 200 * time.Millisecond })
		_, err := client.Contact(t.Context(), "7")
		requireOutage(t, err)
		require.ErrorContains(t, err, "no answer within")
	})
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewServer(nil)
		server.Close()
		client := setup(t, nil, func(o *pulse.Options) { o.URL = server.URL })
		_, err := client.Contact(t.Context(), "7")
		requireOutage(t, err)
		require.ErrorContains(t, err, "connection refused")
	})
	t.Run("no TLS", func(t *testing.T) {
		t.Parallel()
		client := setup(t, says(200, "{}"), func(o *pulse.Options) { o.URL = strings.Replace(o.URL, "http:", "https:", 1) })
		_, err := client.Contact(t.Context(), "7")
		requireOutage(t, err)
	})
	t.Run("a certificate that nobody trusts", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewUnstartedServer(says(200, "{}"))
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshake is meant to fail
		server.StartTLS()
		t.Cleanup(server.Close)
		client := setup(t, nil, func(o *pulse.Options) { o.URL = server.URL })
		_, err := client.Contact(t.Context(), "7")
		requireOutage(t, err)
		require.ErrorContains(t, err, "certificate is not trusted")
	})
	t.Run("the caller gives up", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		client := setup(t, func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		})
		_, err := client.Contact(ctx, "7")
		requireOutage(t, err)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestFailuresOfOneContactAreNoOutages(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"400":                 says(400, `{"error":"ann@example.com is bad"}`),
		"422":                 says(422, `{"message":"The given data was invalid.","errors":{"email":["ann@example.com"]}}`),
		"405":                 says(405, "no"),
		"200 with an error":   says(200, `{"error":"ann@example.com is bad"}`),
		"200 with an object":  says(200, `{"error":{"message":"ann@example.com"}}`),
		"200 without success": says(200, `{"success":false,"message":"ann@example.com is bad"}`),
		"200 with a status":   says(200, `{"status":"error","data":[],"meta":{"last_page":1}}`),
		"200 with a number":   says(200, `{"status":500,"data":[]}`),
		"200 with errors":     says(200, `{"errors":{"id":["ann@example.com"]},"data":[]}`),
		"200 with texts":      says(200, `{"errors":["ann@example.com"],"data":[]}`),
		"200 with a PHP no":   says(200, `{"success":0,"data":[]}`),
		"an empty object":     says(200, `{}`),
		"a list":              says(200, `[]`),
		"null":                says(200, `null`),
		"a text":              says(200, `"ann@example.com"`),
		"another contact":     says(200, `{"id":8,"email":"ann@example.com"}`),
		"too long":            says(200, `{"id":7,"x":"`+strings.Repeat("x", 4<<20)+`"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := setup(t, handler)
			_, contactErr := client.Contact(t.Context(), "7")
			_, tagsErr := client.Tags(t.Context(), "7")
			for _, err := range []error{contactErr, tagsErr} {
				var rejected *pulse.Rejected
				require.ErrorAs(t, err, &rejected)
				require.NotContains(t, err.Error(), "ann@")
				_, outage := contact.AsOutage(err)
				require.False(t, outage)
				_, refusal := contact.AsRefusal(err)
				require.False(t, refusal)
			}
		})
	}
}

func TestUpdatesAreFormsUnlessAKeyWouldBeMangled(t *testing.T) {
	t.Parallel()
	type put struct{ method, path, kind, body string }
	var got []put
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, put{r.Method, r.URL.Path, r.Header.Get("Content-Type"), string(body)})
		w.WriteHeader(http.StatusNoContent)
	})
	require.NoError(t, client.Update(t.Context(), "7", nil))
	require.Empty(t, got)
	require.NoError(t, client.Update(t.Context(), "7", map[string]string{"wp_password": "a&b=ü", "empty": ""}))
	require.NoError(t, client.Update(t.Context(), "7", map[string]string{"address_1.city": "Ur"}))
	require.Equal(t, []put{
		{"PUT", "/api/v1/contacts/7", "application/x-www-form-urlencoded", "empty=&wp_password=a%26b%3D%C3%BC"},
		{"PUT", "/api/v1/contacts/7", "application/json", `{"address_1.city":"Ur"}`},
	}, got)
}

func TestAnUpdateAnsweredByAPageIsNotTakenForDone(t *testing.T) {
	t.Parallel()
	fields := map[string]string{"pass": "word"}
	requireOutage(t, setup(t, says(200, "<html>Maintenance</html>")).Update(t.Context(), "7", fields))
	require.Error(t, setup(t, says(200, `{"error":"read only"}`)).Update(t.Context(), "7", fields))
	require.NoError(t, setup(t, says(200, `[]`)).Update(t.Context(), "7", fields))
	require.NoError(t, setup(t, says(200, ``)).Update(t.Context(), "7", fields))
}

func TestAddressesAreCheckedWithoutShowingThem(t *testing.T) {
	t.Parallel()
	for address, text := range map[string]string{
		"htp://example.com":                   `unknown scheme "htp", use https://`,
		"example.com":                         "unknown scheme",
		"https://":                            "no host",
		"https://user:hunter2@example.com":    "SPILLWAY_CRM_TOKEN",
		"https://example.com/?token=hunter2":  "SPILLWAY_CRM_TOKEN",
		"https://user:hunter2@exa mple.com/%": "no URL",
	} {
		_, err := pulse.New(pulse.Options{URL: address, Tokens: pulse.Fixed(token)})
		require.ErrorContains(t, err, "SPILLWAY_CRM_URL", address)
		require.ErrorContains(t, err, text, address)
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err := pulse.New(pulse.Options{URL: "https://example.com"})
	require.ErrorContains(t, err, "SPILLWAY_CRM_TOKEN")
	_, err = pulse.New(pulse.Options{URL: "https://example.com", Tokens: pulse.Fixed(token), Concurrency: -1})
	require.Error(t, err)
}

func TestThePathOfTheAddressIsKept(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/crm", "/crm/", "/crm/api/v1", "/crm/api/v1/"} {
		client := setup(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/crm/api/v1/contacts/7" {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			says(200, `{"id":7}`)(w, r)
		}, func(o *pulse.Options) { o.URL += path })
		_, err := client.Contact(t.Context(), "7")
		require.NoError(t, err, path)
	}
}

func TestTokenURLFollowsTheAccount(t *testing.T) {
	t.Parallel()
	for account, want := range map[string]string{
		"https://app.acme.thepulsespot.com":      "https://portal.thepulsespot.com/oauth/token",
		"https://app.acme.dev.thepulsespot.com/": "https://portal.acme.dev.thepulsespot.com/oauth/token",
		"https://acme.dev.thepulsespot.com":      "https://portal.thepulsespot.com/oauth/token",
		"http://127.0.0.1:8090":                  "https://portal.thepulsespot.com/oauth/token",
		"%":                                      "https://portal.thepulsespot.com/oauth/token",
	} {
		require.Equal(t, want, pulse.TokenURL(account), account)
	}
}
