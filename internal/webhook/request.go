package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
)

// MaxBody is the largest body that is read, in bytes.
const MaxBody = 64 << 10

// AllowedMethods is the Allow header of an answer to any other method.
const AllowedMethods = "GET, POST"

// Request is a webhook as it came: read, but neither authenticated nor checked.
// [Request.Hook] does both.
type Request struct {
	form, query params
	headerKey   string
	json        []byte // the body, if it is to be read as JSON
	// broken says that the form could not be read to its end.
	broken bool
}

// Parse reads a request, its body included. Errors are *[Error] and the same
// for every caller, whatever key it has: 405 method_not_allowed, 413
// body_too_large, 415 unsupported_media_type, 400 invalid_body for one that
// broke off.
//
// A body may be a form (urlencoded or multipart), JSON, or empty. One without a
// type, or one that says it is a urlencoded form but begins with "{", is read
// as JSON: WP Fusion looks into any body, so CRMs may have got the type wrong
// without anybody having noticed.
func Parse(r *http.Request) (request Request, err error) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return Request{}, &Error{http.StatusMethodNotAllowed, "method_not_allowed", "Send the webhook by GET or POST."}
	}
	body, err := readBody(r)
	if err != nil {
		return Request{}, err
	}
	request.headerKey = r.Header.Get("X-Access-Key")
	request.query.readQuery(r.URL.RawQuery)
	if len(body) == 0 {
		return request, nil
	}
	if err := request.readTyped(r.Header, body); err != nil {
		return Request{}, err
	}
	return request, nil
}

func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	tooLarge := &Error{http.StatusRequestEntityTooLarge, "body_too_large", "The body is larger than 64 KiB."}
	if r.ContentLength > MaxBody {
		return nil, tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	var limit *http.MaxBytesError
	switch {
	case len(body) > MaxBody || errors.As(err, &limit):
		return nil, tooLarge
	case err != nil:
		return nil, invalidBody()
	}
	return body, nil
}

// readTyped reads a body that is not empty.
func (r *Request) readTyped(header http.Header, body []byte) error {
	unsupported := &Error{
		http.StatusUnsupportedMediaType, "unsupported_media_type",
		"Send the body as application/x-www-form-urlencoded, multipart/form-data or application/json, without Content-Encoding.",
	}
	if coding := header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return unsupported
	}
	stated := header.Get("Content-Type")
	if stated == "" {
		r.json = body
		return nil
	}
	// A malformed parameter, such as an empty charset, does not blur the type.
	kind, parameters, err := mime.ParseMediaType(stated)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return unsupported
	}
	switch {
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		r.json = body
	case kind == "multipart/form-data":
		r.broken = !r.form.readMultipart(body, parameters["boundary"])
	case kind != "application/x-www-form-urlencoded":
		return unsupported
	case bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")):
		r.json = body
	default:
		r.form.readQuery(string(body))
	}
	return nil
}

// jsonID returns the member id of a JSON object, empty if there is none. Any
// other member named alike, such as Id, is another member.
func jsonID(body []byte) (string, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil {
		if json.Valid(body) {
			return "", nil // a list or a bare value has no members
		}
		return "", invalidBody()
	}
	raw := object["id"]
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "", nil
	case raw[0] != '"':
		// A number as it is written: 1.0 and 1e3 are no ids, and a large one
		// must not lose digits to a float.
		return string(raw), nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", invalidBody()
	}
	return text, nil
}
