package pulse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// shutOut is how long to stay away from a CRM that does not let us in. Only
	// a person can change that; until then each call is wasted.
	shutOut = time.Minute
	// longestRetryAfter bounds what one answer can ask for.
	longestRetryAfter = time.Hour
)

// judge decides what an answer means.
func judge(r request, a answer) (any, error) {
	value, isJSON := decode(a.body)
	text, failed := report(value)
	text = normal(text)
	missing := r.contact && text == "contact not found"
	// Laravel's words for an address that it does not serve.
	nowhere := a.status == http.StatusNotFound && (looksLikeHTML(a) || strings.HasPrefix(text, "the route "))
	unavailable := func(reason string, retryAfter time.Duration) error {
		return &Unavailable{Attempt: r.attempt, Status: a.status, RetryAfter: retryAfter, Reason: reason}
	}
	rejected := func(reason string) error {
		return &Rejected{Attempt: r.attempt, Status: a.status, Reason: reason}
	}
	switch {
	case a.status == http.StatusUnauthorized:
		return nil, unavailable("the CRM refuses the access token: check SPILLWAY_CRM_TOKEN, or the OAuth settings", shutOut)
	case a.status == http.StatusForbidden:
		return nil, unavailable("the CRM forbids the call (status 403): check that SPILLWAY_CRM_TOKEN, or the OAuth client, may read and change contacts", shutOut)
	case missing, r.contact && !r.tags && a.status == http.StatusNotFound && !nowhere:
		return nil, fmt.Errorf("%s: %w", r.attempt, ErrNotFound)
	case nowhere:
		return nil, unavailable("what answers has no such API (status 404): check SPILLWAY_CRM_URL", shutOut)
	case isBusy(a.status):
		return nil, unavailable(fmt.Sprintf("the CRM is busy or away (status %d)", a.status), retryAfter(a.header, time.Now()))
	case a.status >= 400:
		return nil, rejected(known(text))
	case a.status >= 300:
		return nil, unavailable("the CRM answered with a redirect"+target(a.header)+": set SPILLWAY_CRM_URL to the address that answers itself", shutOut)
	case r.mute && len(bytes.TrimSpace(a.body)) == 0:
		return nil, nil //nolint:nilnil // no content is the answer
	case !isJSON:
		return nil, unavailable(fmt.Sprintf("the CRM answered with something else than JSON (status %d): it may be in maintenance, or SPILLWAY_CRM_URL leads elsewhere", a.status), 0)
	case failed:
		return nil, rejected(known(text))
	}
	return value, nil
}

// isBusy says which statuses are outages.
func isBusy(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

// decode reads JSON, numbers as [json.Number]: an id does not fit a float64.
func decode(body []byte) (any, bool) {
	// Some PHP installations answer with a byte order mark.
	decoder := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))))
	decoder.UseNumber()
	var value, more any
	if err := decoder.Decode(&value); err != nil {
		return nil, false
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, false
	}
	return value, true
}

// report returns the message of an answer that is no record, and whether the
// answer says by itself that the call failed. A contact's record has an id;
// there "error" and "message" would be fields.
func report(value any) (text string, failed bool) {
	object := asObject(value)
	if object["id"] != nil {
		return "", false
	}
	text, _ = object["message"].(string)
	failed = isNo(object["success"]) || isBad(object["status"]) || isListed(object["errors"])
	switch reported := object["error"].(type) {
	case nil:
	case string:
		if reported != "" {
			return reported, true
		}
	case bool:
		failed = failed || reported
	case map[string]any:
		failed = true
		if message, ok := reported["message"].(string); ok {
			text = message
		}
	default:
		failed = true
	}
	return text, failed
}

// isNo recognises a false in the ways that PHP may write it.
func isNo(value any) bool {
	switch value {
	case false, json.Number("0"), "0", "false":
		return true
	}
	return false
}

// isBad recognises a status that says that the call failed: HTTP's, or a word.
func isBad(status any) bool {
	switch said := status.(type) {
	case bool:
		return !said
	case json.Number:
		number, err := said.Int64()
		return err == nil && number >= http.StatusBadRequest
	case string:
		switch strings.ToLower(said) {
		case "error", "fail", "failed", "failure":
			return true
		}
	}
	return false
}

// isListed reports errors: as a text, a list, or by field.
func isListed(errors any) bool {
	switch listed := errors.(type) {
	case string:
		return listed != ""
	case []any:
		return len(listed) > 0
	}
	return len(asObject(errors)) > 0
}

// longestReport is how long an answer may be that tells of a failure.
const longestReport = 4 << 10

// meant returns the status that an answer should have had: some servers say with
// another one that the token has ended, or that there are too many calls.
func meant(a answer) int {
	if len(a.body) > longestReport || a.status == http.StatusUnauthorized || a.status == http.StatusForbidden || isBusy(a.status) {
		return a.status
	}
	value, _ := decode(a.body)
	text, _ := report(value)
	switch normal(text) {
	case "unauthenticated", "invalid_token", "invalid token", "token expired", "token has expired":
		return http.StatusUnauthorized
	case "too many attempts", "too many requests":
		return http.StatusTooManyRequests
	case "server error", "internal server error", "service unavailable":
		return http.StatusServiceUnavailable
	}
	return a.status
}

// normal makes one text of the ways in which the CRM may write it.
func normal(text string) string {
	return strings.ToLower(strings.TrimRight(strings.TrimSpace(text), "."))
}

// known repeats an error text of the CRM if it is one that holds no data.
func known(text string) string {
	switch text {
	case "contact not found", "not found", "the given data was invalid", "unauthenticated",
		"too many attempts", "server error", "method not allowed":
		return text
	}
	return "an error that Spillway does not know"
}

func looksLikeHTML(a answer) bool {
	return bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("<")) ||
		strings.HasPrefix(a.header.Get("Content-Type"), "text/html")
}

// target returns where a redirect leads, without path and query.
func target(header http.Header) string {
	u, err := url.Parse(header.Get("Location"))
	if err != nil || u.Host == "" {
		return ""
	}
	return " to " + u.Scheme + "://" + u.Host
}

// retryAfter reads the header Retry-After: seconds or a date. Zero: it says
// nothing, or nothing that can be read.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		if math.IsNaN(seconds) {
			return 0
		}
		return time.Duration(min(max(seconds, 0), longestRetryAfter.Seconds()) * float64(time.Second))
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	// The other side's clock counts, as far as it is known.
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), longestRetryAfter)
}
