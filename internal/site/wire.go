package site

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"spillway/internal/web"
)

// largestAnswer is a hundred times what a hundred results need.
const largestAnswer = 8 << 20

// httpAnswer is an answer with its body read and trimmed.
type httpAnswer struct {
	status int
	header http.Header
	body   []byte
}

// call sends one request and reads the answer. The error is an outage if the
// request was not sent, and else a *wholeFailure.
func (c *Client) call(ctx context.Context, method, address string, sent []byte) (httpAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	var connected atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), method, address, bytes.NewReader(sent))
	if err != nil {
		return httpAnswer{}, errors.New("the site's address makes no request; check SPILLWAY_SITE_URL")
	}
	if sent != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "Spillway")
	if c.options.User != "" {
		// What Spillway's user sends may be carried out twice; a connection code may not.
		web.Repeatable(request.Header)
		request.SetBasicAuth(c.options.User, c.options.AppPassword)
		// The same in a header of the connector's own, for servers that keep the
		// first one back or want it for themselves.
		request.Header.Set("X-Spillway-Authorization", request.Header.Get("Authorization"))
	}
	if c.server != nil {
		password, _ := c.server.Password()
		request.SetBasicAuth(c.server.Username(), password)
	}

	response, err := c.http.Do(request)
	if err != nil {
		return httpAnswer{}, c.lost(ctx, err, connected.Load())
	}
	defer func() { _ = response.Body.Close() }()
	read, err := io.ReadAll(io.LimitReader(response.Body, largestAnswer+1))
	switch {
	case err != nil:
		return httpAnswer{}, c.lost(ctx, err, true)
	case len(read) > largestAnswer:
		return httpAnswer{}, &wholeFailure{kind: fatal, what: fmt.Sprintf("the request was answered with more than %d MiB", largestAnswer>>20)}
	}
	return httpAnswer{response.StatusCode, response.Header, web.Trimmed(read)}, nil
}

// lost says what it means that no answer came.
func (c *Client) lost(ctx context.Context, err error, connected bool) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return errClosed
	case !connected:
		return &Unavailable{Reason: "no connection: " + web.ConnectError(err)}
	case web.IsTimeout(err):
		return &wholeFailure{kind: slow, what: "the request got no answer in time"}
	default:
		return &wholeFailure{kind: fatal, what: "the connection broke during the request"}
	}
}

// outage says what an answer without results means.
func (a httpAnswer) outage() error {
	if e := a.hindrance(); e != nil {
		return e
	}
	switch {
	case a.status == http.StatusNotFound:
		return a.hinders("no_rest", web.Words(a.body))
	case a.status == http.StatusServiceUnavailable:
		return &Unavailable{Reason: fmt.Sprintf("it answered with status %d", a.status), After: web.RetryAfter(a.status, a.header, time.Now())}
	case a.status >= 300 && a.status < 400:
		return &Unavailable{Reason: a.redirected()}
	default:
		return &Unavailable{Reason: fmt.Sprintf("it answered with status %d", a.status)}
	}
}

// redirected names where to, without path and query: those may hold anything.
func (a httpAnswer) redirected() string {
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		return fmt.Sprintf("it redirects (status %d), and Spillway follows no redirect; set SPILLWAY_SITE_URL to the address that the site itself uses", a.status)
	}
	return fmt.Sprintf("it redirects (status %d), and Spillway follows no redirect; set SPILLWAY_SITE_URL to %s://%s and the folder if WordPress is in one", a.status, to.Scheme, to.Host)
}

// redirectedPost says what it means that a request with contacts is redirected.
// Followed it is not: that would take the application password to another host.
// If the site has moved, so has the status route, which is asked next.
func (a httpAnswer) redirectedPost() *wholeFailure {
	where := "another page"
	if to, err := url.Parse(a.header.Get("Location")); err == nil && to.Host != "" {
		where = "host " + web.Plain(to.Host)
	}
	return &wholeFailure{
		kind: redirected, what: fmt.Sprintf("the request was redirected (status %d)", a.status),
		why: fmt.Sprintf("a plugin redirects while this user is stored (to %s)", where),
	}
}

// ended is what the connector says when something ends its request: what did,
// and where. Empty: it could not say.
func (a httpAnswer) ended() string {
	var refusal struct{ Code, Message string }
	if json.Unmarshal(a.body, &refusal) != nil || refusal.Code != codeRefused {
		return ""
	}
	return strings.TrimSuffix(web.Plain(refusal.Message), ".")
}
