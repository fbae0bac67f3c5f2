package webhook_test

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/webhook"
)

// FuzzParse holds any request against what the package guarantees: a refusal
// is one of the package's own and quotes nothing; without a key there is one
// refusal for all; what is accepted says the same when it is asked for again in
// its plainest form.
func FuzzParse(f *testing.F) {
	for _, seed := range []struct{ method, query, contentType, body string }{
		{"GET", "wpf_action=update&contact_id=5&access_key=" + key, "", ""},
		{"GET", "wpf_action=add&id=5&role=customer&send_notification=true&access_key=" + key, "", ""},
		{"GET", "contact_id[]=5&wpf_action=test&access_key=" + key, "", ""},
		{"POST", "access_key=" + key, formType, "wpf_action=update&contact_id=5&contact_id=%zz;"},
		{"POST", "wpf_action=update&access_key=" + key, jsonType, `{"id":"5","id":1e3}`},
		{"POST", "wpf_action=update&access_key=" + key, "", `[[[`},
		{"POST", "wpf_action=update", jsonType + "; charset=", `{"id":"5\u000a"}`},
		{"POST", "access_key=" + key, "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"contact_id\"\r\n\r\n5\r\n--b--\r\n"},
		{"PUT", "\xff&&==", "x/y; z", "\x00"},
	} {
		f.Add(seed.method, seed.query, seed.contentType, seed.body)
	}
	ring, other := keyring(f, key), keyring(f, "another-key")
	f.Fuzz(func(t *testing.T, method, query, contentType, body string) {
		request, err := webhook.Parse(&http.Request{
			Method: method, URL: &url.URL{Path: "/", RawQuery: query},
			Header: http.Header{"Content-Type": {contentType}, "X-Access-Key": {key}},
			Body:   io.NopCloser(strings.NewReader(body)), ContentLength: -1,
		})
		if err != nil {
			requireOwnRefusal(t, err)
			return
		}
		if !strings.Contains(query+body, "another") {
			_, err = request.Hook(other)
			requireRefused(t, err, http.StatusForbidden, "invalid_access_key")
		}
		hook, err := request.Hook(ring)
		switch {
		case err != nil:
			requireOwnRefusal(t, err)
		case hook.Test:
			require.Equal(t, webhook.Hook{Test: true}, hook)
		default:
			id, err := contact.ParseID(hook.ID)
			require.NoError(t, err)
			require.Equal(t, hook.ID, id)
			require.LessOrEqual(t, len([]rune(hook.Intent.Role)), 100)
			requireSameInEveryForm(t, hook)
		}
	})
}

// requireOwnRefusal requires one of the package's fixed texts.
func requireOwnRefusal(t *testing.T, err error) {
	t.Helper()
	var refused *webhook.Error
	require.ErrorAs(t, err, &refused)
	require.True(t, refused.Status >= 400 && refused.Status < 500, refused.Status)
	require.Regexp(t, `^[a-z_]+$`, refused.Code)
	require.NotContains(t, refused.Message, key)
}

// requireSameInEveryForm asks for a hook again as a query, a form and JSON.
func requireSameInEveryForm(t *testing.T, hook webhook.Hook) {
	t.Helper()
	values := url.Values{
		"access_key": {key}, "wpf_action": {hook.Intent.Action.String()}, "role": {hook.Intent.Role},
		"send_notification": {strconv.FormatBool(hook.Intent.Notify)},
	}
	withoutID := values.Encode()
	values.Set("contact_id", hook.ID)
	for _, r := range []*http.Request{
		get("/?" + values.Encode()),
		post("/", formType, values.Encode()),
		post("/?"+withoutID, jsonType, `{"id":`+hook.ID+`}`),
	} {
		again, err := open(t, r)
		require.NoError(t, err)
		require.Equal(t, hook, again)
	}
}
