package webhook_test

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/webhook"
)

// fuzzed is a request as the fuzzer writes it: what follows a "|" in its content
// type is its content coding.
type fuzzed struct{ method, query, contentType, body string }

// request returns it with a body of an unknown length, which read counts.
func (f fuzzed) request(body string, read *int) *http.Request {
	contentType, coding, _ := strings.Cut(f.contentType, "|")
	return &http.Request{
		Method: f.method, URL: &url.URL{Path: "/", RawQuery: f.query},
		Header: http.Header{"Content-Type": {contentType}, "Content-Encoding": {coding}, "X-Access-Key": {key}},
		Body:   io.NopCloser(io.TeeReader(strings.NewReader(body), counter{read})), ContentLength: -1,
	}
}

type counter struct{ n *int }

func (c counter) Write(p []byte) (int, error) {
	*c.n += len(p)
	return len(p), nil
}

// FuzzParse holds any request against what the package guarantees: a refusal
// is one of the package's own and quotes nothing; without a key there is one
// refusal for all; no more is read than the limit; a body changes nothing of a
// request that is complete without; how a body arrives changes nothing; what is
// accepted says the same when it is asked for again in its plainest form.
func FuzzParse(f *testing.F) {
	const multipart = "multipart/form-data; boundary=b"
	part := func(name, value string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	for _, seed := range []fuzzed{
		{"GET", "wpf_action=update&contact_id=5&access_key=" + key, "", ""},
		{"GET", "wpf_action=add&id=5&role=customer&send_notification=true&access_key=" + key, "", ""},
		{"GET", "contact_id[]=5&wpf_action=test&access_key=" + key, "", ""},
		{"GET", "wpf_action=update&amp;access_key=" + key + "&#038;contact_id=5&amp;amp;wait=2.5", "", ""},
		{"GET", "?wpf_action=update&contact_id=5&access_key=" + key + "?wait=3&x=?", "", ""},
		{"GET", "wpf_action=update%20&%20access_key=%EF%BB%BF" + key + "%0D%0A&contact.id=%A05%C2%A0", "", ""},
		{"HEAD", "wpf_action=update", "", ""},
		{"OPTIONS", "", "", ""},
		{"PATCH", "wpf_action=update&contact_id=5", "text/plain", "\n"},
		{"POST", "access_key=" + key, formType, "wpf_action=update&contact_id=5&contact_id=%zz;"},
		{"POST", "access_key=" + key, "", "\xef\xbb\xbf?wpf_action=update&amp;contact_id=5"},
		{"POST", "wpf_action=add", formType, "contact_id=5&role=customer&send_notification=1&wait=1&email=x"},
		{"POST", "wpf_action=add", formType, "id=5&role=Chief&first_name=x"},
		{"POST", "wpf_action=update&access_key=" + key, jsonType, `{"id":"5","id":1e3}`},
		{"POST", "wpf_action=update&access_key=" + key, jsonType, "{\"note\":\"a\nb\",\"id\":5,\"x\":[{\"id\":6},null,true,-1.5e3,\"\\u0069\"]}"},
		{"POST", "wpf_action=update&access_key=" + key, jsonType, `{"id":5,"note":"he said "hi"","id":6}`},
		{"POST", "wpf_action=update&access_key=" + key, jsonType, `{"\u0069d":" 5 "} {"id":6}`},
		{"POST", "wpf_action=update&access_key=" + key, jsonType, "\xff\xfe{\x00\"\x00i\x00d\x00\"\x00:\x005\x00}\x00"},
		{"POST", "wpf_action=update&access_key=" + key, jsonType, "\x00{\x00\"\x00i\x00d\x00\"\x00:\x005\x00}"},
		{"POST", "wpf_action=update&access_key=" + key, jsonType + "|gzip", packed(f, "gzip", `{"id":5}`)},
		{"POST", "wpf_action=update&access_key=" + key, "|deflate", packed(f, "zlib", `contact_id=5`)},
		{"POST", "wpf_action=update&access_key=" + key, "|deflate", packed(f, "deflate", `contact_id=5`)},
		{"POST", "wpf_action=update&access_key=" + key, "|br", "\x0b\x02\x80contact_id"},
		{"POST", "wpf_action=update&access_key=" + key, "", `[[[`},
		{"POST", "wpf_action=update", jsonType + "; charset=", `{"id":"5\u000a"}`},
		{"POST", "wpf_action=update", jsonType, `5`},
		{"POST", "wpf_action=update", "application/xml", `<id>5</id>`},
		{"POST", "access_key=" + key, multipart, part("contact_id", "5") + "--b--\r\n"},
		{"POST", "access_key=" + key, "text/plain", part("wpf_action", "add") + part("contact_id", "5") + part("role", "x") + "--b--"},
		{"POST", "access_key=" + key, multipart, part("wpf_action", "update") + part("contact_id", "5")},
		{"PUT", "\xff&&==", "x/y; z", "\x00"},
	} {
		f.Add(seed.method, seed.query, seed.contentType, seed.body)
	}
	ring, other := keyring(f, key), keyring(f, "another-key")
	f.Fuzz(func(t *testing.T, method, query, contentType, body string) {
		given, read := fuzzed{method, query, contentType, body}, 0
		if !strings.Contains(query+body, "another") {
			_, err := webhook.Parse(given.request(body, &read), other)
			requireRefused(t, err, http.StatusForbidden, "invalid_access_key")
			require.Equal(t, "The access key is missing or not accepted; send it as access_key in the URL.", err.Error())
		}
		read = 0
		hook, err := webhook.Parse(given.request(body, &read), ring)
		require.LessOrEqual(t, read, webhook.MaxBody+1)

		slow := given.request(body, &read)
		slow.Body = io.NopCloser(iotest.OneByteReader(slow.Body))
		again, errAgain := webhook.Parse(slow, ring)
		require.Equal(t, err, errAgain)
		require.Equal(t, hook, again)

		if complete, err := webhook.Parse(given.request("", &read), ring); err == nil {
			require.Equal(t, complete, hook, "a body that is not needed counts")
			stated := given.request(body, &read)
			stated.ContentLength = int64(len(body))
			again, err := webhook.Parse(stated, ring)
			require.NoError(t, err)
			require.Equal(t, complete.ID, again.ID)
			require.Equal(t, complete.Intent.Action, again.Intent.Action)
			if complete.Intent.Role != "" {
				require.Equal(t, complete.Intent.Role, again.Intent.Role)
			}
		}
		switch {
		case err != nil:
			requireOwnRefusal(t, err)
		case hook.Test:
			require.Equal(t, webhook.Hook{Site: contact.DefaultSite, Test: true}, hook)
		default:
			id, err := contact.ParseID(hook.ID)
			require.NoError(t, err)
			require.Equal(t, hook.ID, id)
			require.LessOrEqual(t, len([]rune(hook.Intent.Role)), 100)
			require.True(t, 0 <= hook.Wait && hook.Wait <= webhook.MaxWait, hook.Wait)
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
	if hook.HasWait {
		values.Set("wait", strconv.FormatFloat(hook.Wait.Seconds(), 'f', -1, 64))
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
		require.InDelta(t, hook.Wait, again.Wait, 1, "a float's last digit")
		again.Wait, again.Site = hook.Wait, hook.Site
		require.Equal(t, hook, again)
	}
}
