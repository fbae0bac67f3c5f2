package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"spillway/internal/contact"
	"spillway/internal/web"
	"spillway/internal/webhook"
)

// largestAnswer is how much of an answer is read, in bytes. WP Fusion shows what it has
// loaded of a contact after what it has to say.
const largestAnswer = 1 << 20

// answer is one with its body read and trimmed.
type answer struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
	lock   time.Duration // that WP Fusion keeps on a contact
}

// ask sends the request for a contact and judges the answer.
func (c *Client) ask(ctx context.Context, query url.Values, change contact.Change) (contact.Result, error) {
	a, err := c.call(ctx, c.options.Timeout, query)
	if err != nil {
		return contact.Result{}, err
	}
	result, err := a.read(change)
	var died *died
	var failed *Failed
	switch {
	case errors.As(err, &died):
		// A lone contact tells nothing of a site that is down altogether.
		if err := c.Test(ctx); err != nil {
			return contact.Result{}, fmt.Errorf("%s; and then: %w", died.Message, err)
		}
		err = c.inARow(died, &Unavailable{Reason: died.Message + " with one contact after the other; see the site's PHP error log"})
	case errors.As(err, &failed):
		err = c.inARow(failed, hindered("relay_crm", failed.Message))
	case err == nil && result.Outcome != contact.Skipped: // what has no user was not looked for in the CRM
		c.inRow.Store(0)
	}
	return result, err
}

// rowLimit is how many contacts in a row may fail, each for itself. After that
// something that they share is to blame, and they wait instead of being parked.
const rowLimit = 3

// inARow returns the failure of one contact, or what it means when others failed
// before it and none did not.
func (c *Client) inARow(failure, outage error) error {
	if c.inRow.Add(1) > rowLimit {
		return outage
	}
	return failure
}

// call sends one request. It is a POST, which no cache answers; all that WP
// Fusion needs is in the address. The error is an outage.
func (c *Client) call(ctx context.Context, timeout time.Duration, query url.Values) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var connected atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	address := *c.base.JoinPath("/")
	address.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, address.String(), http.NoBody)
	if err != nil {
		return answer{}, &Unavailable{Reason: "its address makes no request; check SPILLWAY_SITE_URL"}
	}
	// WordPress then answers in JSON, which no page of a firewall is.
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "Spillway")
	request.Header.Set(webhook.RelayHeader, c.proof)
	if c.server != nil {
		password, _ := c.server.Password()
		request.SetBasicAuth(c.server.Username(), password)
	}
	began := time.Now()
	response, err := c.http.Do(request)
	if err != nil {
		return answer{}, c.lost(ctx, err, connected.Load(), timeout)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, largestAnswer))
	if err != nil {
		return answer{}, c.lost(ctx, err, true, timeout)
	}
	return answer{response.StatusCode, response.Header, web.Trimmed(body), time.Since(began), c.options.Lock}, nil
}

// lost says what it means that no answer came. PHP goes on when its caller has
// gone, so what was sent may have been done, or be done still.
func (c *Client) lost(ctx context.Context, err error, connected bool, timeout time.Duration) error {
	const unsure = "; whether WP Fusion went on is not known, so the contact is asked for again in a minute"
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return &unknown{Unavailable{Reason: "Spillway stopped while a request was under way" + unsure, After: c.options.Lock}}
	case !connected:
		return &Unavailable{Reason: "no connection: " + web.ConnectError(err)}
	case web.IsTimeout(err):
		return &unknown{Unavailable{Reason: fmt.Sprintf("no answer within %s%s", timeout, unsure), After: c.options.Lock}}
	default:
		return &unknown{Unavailable{Reason: "the connection broke during the request" + unsure, After: c.options.Lock}}
	}
}

// testTimeout ends a test: WP Fusion answers it as soon as it has looked at the
// key.
const testTimeout = 10 * time.Second

// Test asks WP Fusion's endpoint whether it is there and takes the access key. It
// needs no slot and changes nothing. Its error is a [contact.Outage].
func (c *Client) Test(ctx context.Context) error {
	a, err := c.call(ctx, testTimeout, url.Values{"wpf_action": {"test"}, "access_key": {c.options.AccessKey}})
	if err != nil {
		return err
	}
	if said, ok := a.success(); a.status == http.StatusOK && ok && said {
		return nil
	}
	if err := a.notWPFusion(); err != nil {
		return err
	}
	return a.hinders("relay_no_endpoint")
}
