package pulse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"spillway/internal/web"
)

// maxBody bounds an answer. A page of tags has a few kilobytes.
const maxBody = 4 << 20

var errTooLong = errors.New("the answer is too long")

// request is one call to be made.
type request struct {
	route   string // for metrics
	attempt string // for errors
	method  string
	path    string // below /api/v1/
	query   url.Values
	body    []byte
	kind    string // the body's content type
	contact bool   // it asks for a contact, which may be missing
	tags    bool   // it names tags, too: a 404 need not mean the contact
	mute    bool   // an answer without content will do
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

const (
	// maxTries bounds the tries of a call whose token is refused. Tokens that
	// live shorter than a call waits for its budget need more than two.
	maxTries = 3
	// maxLimited bounds the 429s that a call sits out. Six in a row find a
	// limit that the CRM does not announce, forty times below the setting. If
	// the CRM answers every call with 429, the pass must not sit out all its
	// time.
	maxLimited = 8
)

// do makes a call. It repeats it with a new token if the old one had expired,
// and after a 429 if the budget has a turn for it in time: otherwise the pass's
// earlier calls would have been wasted. It returns the decoded JSON.
func (c *Client) do(ctx context.Context, r request) (any, error) {
	// The slot comes before the budget: a call that was counted is made at once.
	if err := c.slot(ctx, r); err != nil {
		return nil, err
	}
	defer func() { <-c.slots }()
	for try, limited := 1, 0; ; try++ {
		a, token, err := c.exchange(ctx, r)
		if err != nil {
			return nil, err
		}
		if a.status == http.StatusTooManyRequests && c.budget != nil {
			if limited++; limited < maxLimited {
				try--
				continue
			}
		}
		if a.status != http.StatusUnauthorized || try == maxTries {
			value, err := judge(r, a)
			c.report(ctx, a, err)
			return value, err
		}
		if _, err := c.tokens.Renew(ctx, token); err != nil {
			c.reportToken(ctx, err)
			return nil, fmt.Errorf("%s: %w", r.attempt, err)
		}
	}
}

// slot waits until this client may make one more call at once.
func (c *Client) slot(ctx context.Context, r request) error {
	c.waiting.Add(1)
	defer c.waiting.Add(-1)
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &Unavailable{Attempt: r.attempt, Reason: "gave up waiting for a turn: " + ctx.Err().Error(), Err: ctx.Err()}
	}
}

// Room says whether another pass would soon have its calls: hardly any wait for
// one of the client's calls at once to end. With a CRM that answers slowly that
// is what bounds the calls per second, not the budget.
func (c *Client) Room() bool { return int(c.waiting.Load()) <= cap(c.slots)/4 }

// exchange waits for the budget, sends the request and reads the answer. It
// takes the token last, and returns it: it may have been renewed meanwhile.
func (c *Client) exchange(ctx context.Context, r request) (a answer, token string, err error) {
	if err := c.allowed(ctx); err != nil {
		return answer{}, "", fmt.Errorf("%s: %w", r.attempt, err)
	}
	if token, err = c.tokens.Token(ctx); err != nil {
		c.reportToken(ctx, err)
		return answer{}, "", fmt.Errorf("%s: %w", r.attempt, err)
	}
	address := c.base + r.path
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	header := http.Header{"Authorization": {"Bearer " + token}}
	web.Repeatable(header) // fields and tags may be set twice
	spanCtx, span := startSpan(ctx, r.route)
	a, took, err := send(spanCtx, c.http, c.timeout, address, r, header)
	endSpan(span, a.status)
	c.observe(Call{Route: r.route, Status: a.status, Duration: took})
	switch {
	case errors.Is(err, errTooLong):
		return answer{}, "", &Rejected{Attempt: r.attempt, Status: a.status, Reason: fmt.Sprintf("more than %d MiB", maxBody>>20)}
	case err != nil:
		err := noAnswer(ctx, r.attempt, err, c.timeout)
		c.report(ctx, answer{}, err)
		return answer{}, "", err
	}
	a.status = meant(a)
	if a.status == http.StatusTooManyRequests && c.budget != nil {
		c.budget.Limited(ctx, retryAfter(a.header, time.Now()))
	}
	return a, token, nil
}

// send makes one HTTP exchange. The answer has its status also when the body
// could not be read.
func send(ctx context.Context, client *http.Client, timeout time.Duration, address string, r request, header http.Header) (a answer, took time.Duration, err error) {
	start := time.Now()
	defer func() { took = time.Since(start) }()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, address, bytes.NewReader(r.body))
	if err != nil {
		return answer{}, 0, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "Spillway")
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	response, err := client.Do(req)
	if err != nil {
		return answer{}, 0, err
	}
	defer func() { _ = response.Body.Close() }()
	a = answer{status: response.StatusCode, header: response.Header}
	a.body, err = io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err == nil && len(a.body) > maxBody {
		err = errTooLong
	}
	return a, 0, err
}
