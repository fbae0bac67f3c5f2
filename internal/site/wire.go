package site

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	connectTimeout = 5 * time.Second
	// largestAnswer is a hundred times what a hundred results need.
	largestAnswer = 8 << 20
)

// httpClient returns a client that follows no redirect: a POST would become a
// GET, or take the password to another host.
func httpClient(given *http.Client, roots *x509.CertPool) *http.Client {
	client := &http.Client{}
	if given != nil {
		*client = *given
	} else {
		dialer := &net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}
		client.Transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         dialer.DialContext,
			TLSHandshakeTimeout: connectTimeout,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 8,
			IdleConnTimeout:     60 * time.Second,
		}
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client
}

// httpAnswer is an answer with its body read.
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
	return httpAnswer{response.StatusCode, response.Header, read}, nil
}

// lost says what it means that no answer came.
func (c *Client) lost(ctx context.Context, err error, connected bool) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return errClosed
	case !connected:
		return &Unavailable{Reason: "no connection: " + connectError(err)}
	case isTimeout(err):
		return &wholeFailure{kind: slow, what: "the request got no answer in time"}
	default:
		return &wholeFailure{kind: fatal, what: "the connection broke during the request"}
	}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// connectError explains why there is no connection. Only errors whose text is
// known to be harmless are repeated; that of *url.Error holds the URL.
func connectError(err error) string {
	var dns *net.DNSError
	var operation *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case isTimeout(err):
		return "connecting took too long"
	case errors.As(err, &dns):
		return "its host name is not known; check SPILLWAY_SITE_URL"
	case errors.As(err, &certificate):
		return "its certificate is not valid: " + plain(certificate.Err.Error()) + "; check SPILLWAY_SITE_URL's host, or put your own authority into SPILLWAY_CA"
	case errors.As(err, &operation):
		return plain(operation.Err.Error())
	default:
		return "it does not speak HTTP as SPILLWAY_SITE_URL has it; check https and http"
	}
}

// outage says what an answer without results means.
func (a httpAnswer) outage() error {
	if e := a.hindrance(); e != nil {
		return e
	}
	switch {
	case a.status == http.StatusNotFound:
		return a.hinders("no_rest", a.page())
	case a.status == http.StatusServiceUnavailable:
		return &Unavailable{Reason: fmt.Sprintf("it answered with status %d", a.status), After: a.retryAfter(time.Now())}
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
		where = "host " + plain(to.Host)
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
	if json.Unmarshal(trimBOM(a.body), &refusal) != nil || refusal.Code != codeRefused {
		return ""
	}
	return strings.TrimSuffix(plain(refusal.Message), ".")
}

const (
	// WordPress asks for this in maintenance mode, which lasts as long as an
	// update copies files: seconds.
	maintenanceAsked = 600 * time.Second
	maintenance      = 30 * time.Second
)

// retryAfter reads Retry-After, which is seconds or a date.
func (a httpAnswer) retryAfter(now time.Time) time.Duration {
	value := strings.TrimSpace(a.header.Get("Retry-After"))
	if seconds, err := strconv.Atoi(value); err == nil {
		// More would overflow; nobody waits that long.
		after := time.Duration(min(max(seconds, 0), 1<<30)) * time.Second
		if a.status == http.StatusServiceUnavailable && after == maintenanceAsked {
			return maintenance
		}
		return after
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	// The site's clock gave the date, so compare it with that clock.
	if sent, err := http.ParseTime(a.header.Get("Date")); err == nil {
		now = sent
	}
	return max(0, at.Sub(now))
}
