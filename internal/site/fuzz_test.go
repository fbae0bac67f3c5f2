package site_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/site"
)

// connector is a transport that answers every batch alike, over no network,
// and says that the site is well.
type connector struct {
	status     int
	retryAfter string
	body       string
}

func (c *connector) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(`{"plugin":"1","protocol":1}`)),
	}
	if strings.HasSuffix(r.URL.Path, "/contacts") {
		answer.StatusCode, answer.Body = c.status, io.NopCloser(bytes.NewReader([]byte(c.body)))
		answer.Header.Set("Retry-After", c.retryAfter)
	}
	return answer, nil
}

// FuzzAnswers holds any answer of the connector against what the package
// guarantees: no result without an answer for that very contact, an error that
// callers know what to do with, and no address or password in it.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []struct {
		status           uint16
		retryAfter, body string
	}{
		{0, "", `{"results":[{"contact_id":"7","outcome":"created","user_id":42,"user_login":"ann","role":"customer","notes":["role_not_allowed"]}],"elapsed_ms":12}`},
		{0, "", `{"results":[{"contact_id":"7","outcome":"failed","error":{"code":"no_email","message":"of ann@example.com\nand more","permanent":true}}]}`},
		{0, "", `{"results":[{"contact_id":"7","outcome":"deferred"}]}`},
		{0, "", `{"results":[{"contact_id":"8","outcome":"updated"}]}`},
		{0, "", `{"results":[{"contact_id":"7","outcome":"odd"},{}]}`},
		{0, "", "\xef\xbb\xbf" + `{"results":[]}`},
		{0, "", `{"results":null}`},
		{204, "", `{"code":"rest_no_route"}`},
		{300, "", `<p>There has been a critical error`},
		{303, "600", ``},
		{229, "99999999999999999999", ``},
		{101, "", ``},
		{201, "", ``},
		{203, "", ``},
		{213, "", ``},
	} {
		f.Add(seed.status, seed.retryAfter, seed.body)
	}
	f.Fuzz(func(t *testing.T, status uint16, retryAfter, body string) {
		client, err := site.New(site.Options{
			URL: "https://site.test", User: "spillway", AppPassword: "appl1cation-password", UnderWay: func() int { return 1 },
			HTTP: &http.Client{Transport: &connector{status: 200 + int(status)%400, retryAfter: retryAfter, body: body}},
		})
		require.NoError(t, err)
		defer func() { require.NoError(t, client.Close(t.Context())) }()

		result, err := client.Store(t.Context(), contact.Change{ContactID: "7", Action: contact.Update.String()})
		if err == nil {
			require.Contains(t, body, "7", "a result for a contact that the answer cannot have named")
			require.Contains(t, []contact.Outcome{contact.Created, contact.Updated, contact.Unchanged, contact.Skipped}, result.Outcome)
			return
		}
		require.Equal(t, contact.Result{}, result)
		outage, isOutage := contact.AsOutage(err)
		_, isRefusal := contact.AsRefusal(err)
		require.False(t, isOutage && isRefusal)
		if isOutage {
			require.GreaterOrEqual(t, outage.Outage(), time.Duration(0))
		}
		require.NotContains(t, err.Error(), "appl1cation-password")
		var refused *site.Refused
		var failed *site.Failed
		if errors.As(err, &refused) || errors.As(err, &failed) {
			require.NotRegexp(t, `[^\s@<>"']@[^\s@<>"']`, err.Error())
			require.NotContains(t, err.Error(), "\n")
		}
	})
}
