package webhook_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"spillway/internal/webhook"
)

// packed returns a text as gzip, zlib or deflate.
func packed(t testing.TB, format, text string) string {
	t.Helper()
	var buffer bytes.Buffer
	var out io.WriteCloser
	switch format {
	case "gzip":
		out = gzip.NewWriter(&buffer)
	case "zlib":
		out = zlib.NewWriter(&buffer)
	default:
		var err error
		out, err = flate.NewWriter(&buffer, flate.BestSpeed)
		require.NoError(t, err)
	}
	_, err := io.WriteString(out, text)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	return buffer.String()
}

func TestMultipartFormIsRead(t *testing.T) {
	t.Parallel()

	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	require.NoError(t, form.WriteField("wpf_action", "add"))
	require.NoError(t, form.WriteField("contact_id", "6"))
	require.NoError(t, form.WriteField("contact_id", "5"))
	require.NoError(t, form.WriteField("role", "customer"))
	require.NoError(t, form.WriteField("access_key", key))
	file, err := form.CreateFormFile("contact_id", "7.txt")
	require.NoError(t, err)
	_, err = file.Write([]byte("7"))
	require.NoError(t, err)
	require.NoError(t, form.Close())

	hook, err := open(t, post("/", form.FormDataContentType(), body.String()))
	require.NoError(t, err)
	require.Equal(t, add("customer", false), hook)
}

func TestMultipartFormThatBreaksOffYieldsNoPartialValue(t *testing.T) {
	t.Parallel()

	const broken = "--b\r\nContent-Disposition: form-data; name=\"contact_id\"\r\n\r\n12"
	_, err := open(t, post(query+"wpf_action=update", "multipart/form-data; boundary=b", broken))
	requireRefused(t, err, http.StatusBadRequest, "invalid_body")

	hook, err := open(t, post(query+"wpf_action=update&contact_id=5", "multipart/form-data; boundary=b", broken))
	require.NoError(t, err)
	require.Equal(t, update("5"), hook)
}

// unreadable are bodies of which nothing is learnt, with the code of the refusal
// of a request that needs them.
func unreadable(t *testing.T) map[string]struct {
	request func(target string) *http.Request
	status  int
	code    string
} {
	t.Helper()
	type unreadable = struct {
		request func(target string) *http.Request
		status  int
		code    string
	}
	of := func(contentType, body string, headers ...string) func(string) *http.Request {
		return func(target string) *http.Request {
			r := post(target, contentType, body)
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			return r
		}
	}
	large := strings.Repeat("x", 2<<20)
	return map[string]unreadable{
		"large form":    {of(formType, "a="+large), 413, "body_too_large"},
		"large JSON":    {of(jsonType, `{"note":"`+large+`","id":5}`), 413, "body_too_large"},
		"large parts":   {of("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"+large+"\r\n--b--\r\n"), 413, "body_too_large"},
		"large, zipped": {of(jsonType, packed(t, "gzip", `{"note":"`+large+`","id":5}`), "Content-Encoding", "gzip"), 413, "body_too_large"},
		"chunked": {func(target string) *http.Request {
			r := post(target, formType, "a="+large)
			r.ContentLength = -1
			return r
		}, 413, "body_too_large"},
		"prose":            {of("text/plain", "Contact 5 was edited."), 415, "unsupported_media_type"},
		"prose, no type":   {of("", "Contact 5 was edited."), 415, "unsupported_media_type"},
		"XML":              {of("application/xml", "<id>5</id>"), 415, "unsupported_media_type"},
		"no such type":     {of("/", "\x01\x02"), 415, "unsupported_media_type"},
		"Brotli":           {of(jsonType, "\x0b\x04\x80{\"id\":5}\x03", "Content-Encoding", "br"), 415, "unsupported_media_type"},
		"Zstandard":        {of(formType+"x", "\x28\xb5\x2f\xfd\x04", "Content-Encoding", "zstd"), 415, "unsupported_media_type"},
		"half a gzip":      {of(jsonType, packed(t, "gzip", `{"id":5}`)[:14], "Content-Encoding", "gzip"), 400, "invalid_body"},
		"garbage in gzip":  {of(jsonType, "\x1f\x8b\x08garbage", "Content-Encoding", "gzip"), 400, "invalid_body"},
		"broken off":       {of("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"contact_id\"\r\n\r\n5"), 400, "invalid_body"},
		"endless header":   {of("multipart/form-data; boundary=b", "--b\r\nX-A: "+large[:100_000]), 400, "invalid_body"},
		"JSON with quotes": {of(jsonType, `{"note":"he said "hi"","id":5}`), 400, "invalid_body"},
		"reset": {func(target string) *http.Request {
			r := post(target, formType, "")
			r.Body, r.ContentLength = io.NopCloser(iotest.ErrReader(errors.New("reset"))), 100
			return r
		}, 400, "invalid_body"},
	}
}

func TestABodyThatCannotBeReadIsHeldAgainstTheWebhookThatNeedsIt(t *testing.T) {
	t.Parallel()

	for name, c := range unreadable(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hook, err := open(t, c.request(query+"wpf_action=update&contact_id=5"))
			require.NoError(t, err, "the URL is complete")
			require.Equal(t, update("5"), hook)

			_, err = open(t, c.request(query+"wpf_action=update"))
			requireRefused(t, err, c.status, c.code)
			require.Contains(t, err.Error(), "contact_id is not in the URL, and the body ")

			_, err = open(t, c.request(query+"contact_id=5"))
			requireRefused(t, err, c.status, c.code)
			require.Contains(t, err.Error(), "wpf_action is not in the URL, and the body ")

			_, err = open(t, c.request("/?wpf_action=update&contact_id=5"))
			requireRefused(t, err, http.StatusForbidden, "invalid_access_key")
		})
	}
}

func TestWhatStandsBeforeAFaultCounts(t *testing.T) {
	t.Parallel()

	large := strings.Repeat("x", webhook.MaxBody)
	for name, body := range map[string]string{
		"large form":              "contact_id=5&a=" + large,
		"large JSON":              `{"id":5,"note":"` + large + `"}`,
		"quotes":                  `{"id":5,"note":"he said "hi" to me"}`,
		"half of a text":          `{"id":"5","note":"he said`,
		"a value that is missing": `{"id":5,"age":,"x":1}`,
		"comma at the end":        `{"id":5,}`,
		"something behind it":     `{"id":5};`,
		"deep":                    `{"id":5,"x":` + strings.Repeat("[", 60_000),
		"the same twice":          `{"id":5,"id":5,"x":}`,
		"a part that breaks off":  "--b\r\nContent-Disposition: form-data; name=contact_id\r\n\r\n5\r\n--b\r\nContent-Disposition: form-data; name=x\r\n\r\n1",
	} {
		hook, err := open(t, post(query+"wpf_action=update", "", body))
		require.NoError(t, err, name)
		require.Equal(t, update("5"), hook, name)
	}
	for name, body := range map[string]string{
		"half an id":        `{"id":5`,
		"half a pair":       "a=" + strings.Repeat("x", webhook.MaxBody-20) + "&contact_id=512345678",
		"two ids":           `{"id":5,"id":6,"x":}`,
		"behind the fault":  `{"x":,"id":5}`,
		"an id within":      `{"contact":{"id":5,"x":}`,
		"two objects":       `{"id":5}{"id":6}`,
		"an object, a list": `{"id":5}[`,
	} {
		_, err := open(t, post(query+"wpf_action=update", "", body))
		var refused *webhook.Error
		require.ErrorAs(t, err, &refused, name)
		require.Contains(t, []string{"invalid_body", "body_too_large"}, refused.Code, name)
	}
}

func TestBodyOfTheLimitIsRead(t *testing.T) {
	t.Parallel()

	body := "x=" + strings.Repeat("x", webhook.MaxBody)
	const end = "&wpf_action=update&contact_id=5"
	hook, err := open(t, post(query, formType, body[:webhook.MaxBody-len(end)]+end))
	require.NoError(t, err)
	require.Equal(t, update("5"), hook)
}

func TestARoleInAFormCountsIfTheFormWasMadeForThisEndpoint(t *testing.T) {
	t.Parallel()

	role := "&role=customer&send_notification=true&wait=2"
	for name, c := range map[string]struct {
		target, form string
		want         string
	}{
		"action in the form":           {query, "wpf_action=add&contact_id=5&first_name=x" + role, "customer"},
		"key in the form":              {"/?wpf_action=add&contact_id=5", "access_key=" + key + "&first_name=x" + role, "customer"},
		"contact_id in the form":       {query + "wpf_action=add", "contact_id=5&first_name=x" + role, "customer"},
		"nothing but parameters":       {query + "wpf_action=add", "id=5&email=x&async=true" + role, "customer"},
		"beside a complete URL":        {query + "wpf_action=add&contact_id=5", role, "customer"},
		"key beside a complete URL":    {query + "wpf_action=add&contact_id=5", "access_key=" + key + "&first_name=x" + role, "customer"},
		"action beside a complete URL": {query + "wpf_action=add&contact_id=5", "wpf_action=add&contact_id=5&first_name=x" + role, "customer"},
		"the URL's comes first":        {query + "wpf_action=add&contact_id=5&role=editor", role, "editor"},
		"a contact's record":           {query + "wpf_action=add", "id=5&first_name=x" + role, ""},
		"a record and a complete URL":  {query + "wpf_action=add&contact_id=5", "id=5&first_name=x" + role, ""},
		"a record with contact_id":     {query + "wpf_action=add&contact_id=5", "contact_id=5&first_name=x" + role, ""},
		"a large one is not looked at": {query + "wpf_action=add&contact_id=5", "email=" + strings.Repeat("x", 5000) + role, ""},
		"no role at all":               {query + "wpf_action=add", "contact_id=5&role=a%00b", ""},
		"a list":                       {query + "wpf_action=add", "contact_id=5&role[]=customer", ""},
	} {
		hook, err := open(t, post(c.target, formType, c.form))
		require.NoError(t, err, name)
		require.Equal(t, "5", hook.ID, name)
		require.Equal(t, c.want, hook.Intent.Role, name)
		counts := c.want == "customer" || c.want == "editor"
		require.Equal(t, counts, hook.Intent.Notify, name)
		require.Equal(t, counts, hook.HasWait, name)
	}
}
