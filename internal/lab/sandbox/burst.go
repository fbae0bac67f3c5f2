package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"spillway/internal/contact"
)

// BurstOptions describe the webhooks of a bulk edit.
type BurstOptions struct {
	URL         string // where webhooks go
	Key         string // the access key
	Webhooks    int    // how many to send
	Contacts    int    // the contacts 1 to Contacts are meant, each in its turn; 0 stands for as many as Webhooks
	Connections int    // at once; 0 stands for 50
	// Actions are the actions' shares; nil: half update, a third update_tags, a
	// sixth add.
	Actions map[contact.Action]int
	// Timeout is how long the CRM waits for an answer; 0 stands for 10 seconds.
	Timeout time.Duration
	// Progress is told some times a second, by one goroutine at a time, how many
	// webhooks were sent and accepted so far, and once at the end. Nil: nobody is.
	Progress func(sent, accepted int)
}

// BurstResult tells how a burst was taken. The times are those of all webhooks
// that were answered, refusals included; the percentiles are exact.
type BurstResult struct {
	Accepted  int // answered 2xx
	Coalesced int // of these, those that joined outstanding work
	Refused   int // answered otherwise
	Failed    int // not answered
	Took      time.Duration
	PerSecond float64 // accepted ones
	P50, P99  time.Duration
	Max       time.Duration
	// Problem describes the first webhook that was refused or failed.
	Problem string
}

const (
	defaultConnections  = 50
	defaultBurstTimeout = 10 * time.Second
	progressEvery       = 200 * time.Millisecond
)

// Burst sends webhooks as the CRM does in a bulk edit, as fast as they are
// answered. A context that ends stops the burst; the result then covers what was
// sent, and the error is the context's.
func Burst(ctx context.Context, options BurstOptions) (BurstResult, error) {
	target, err := url.Parse(options.URL)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return BurstResult{}, errors.New("sending webhooks: the URL is none, write http://HOST:PORT/")
	}
	if options.Webhooks < 0 || options.Contacts < 0 || options.Connections < 0 || options.Timeout < 0 {
		return BurstResult{}, errors.New("sending webhooks: numbers and the timeout cannot be negative")
	}
	if options.Contacts == 0 {
		options.Contacts = max(options.Webhooks, 1)
	}
	if options.Connections == 0 {
		options.Connections = defaultConnections
	}
	if options.Timeout == 0 {
		options.Timeout = defaultBurstTimeout
	}
	deck, err := actionDeck(options.Actions)
	if err != nil {
		return BurstResult{}, err
	}
	b := &burst{options: options, target: target, deck: deck, client: burstClient(options)}
	defer b.client.CloseIdleConnections()
	return b.run(ctx)
}

type burst struct {
	options BurstOptions
	target  *url.URL
	deck    []contact.Action
	client  *http.Client

	next, sent, accepted atomic.Int64
}

// tally is what one connection saw; each has its own, so that counting costs no
// lock.
type tally struct {
	times                                []time.Duration
	accepted, coalesced, refused, failed int
	problem                              string
	problemAt                            int // the webhook's number
}

// run sends everything and adds up the tallies.
func (b *burst) run(ctx context.Context) (BurstResult, error) {
	tallies := make([]tally, min(b.options.Connections, max(b.options.Webhooks, 1)))
	began := time.Now()
	stopProgress := b.progress()
	var senders sync.WaitGroup
	for i := range tallies {
		senders.Go(func() { b.sendUntilDone(ctx, &tallies[i]) })
	}
	senders.Wait()
	took := time.Since(began)
	stopProgress()
	result := sum(tallies, took)
	if int(b.sent.Load()) < b.options.Webhooks {
		return result, fmt.Errorf("sending webhooks: %w", ctx.Err())
	}
	return result, nil
}

// progress reports until the returned function is called, which reports last.
func (b *burst) progress() (stop func()) {
	report := func() {
		// What was accepted is read first: it never exceeds what was sent.
		accepted := int(b.accepted.Load())
		b.options.Progress(int(b.sent.Load()), accepted)
	}
	if b.options.Progress == nil {
		return func() {}
	}
	done := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() {
		ticker := time.NewTicker(progressEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				report()
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		reporter.Wait()
		report()
	}
}

func (b *burst) sendUntilDone(ctx context.Context, t *tally) {
	for ctx.Err() == nil {
		n := int(b.next.Add(1)) - 1
		if n >= b.options.Webhooks {
			return
		}
		b.send(ctx, n, t)
	}
}

// send sends the nth webhook and records what came of it.
func (b *burst) send(ctx context.Context, n int, t *tally) {
	// One that the end of the burst cut off is neither sent nor failed.
	callCtx, cancel := context.WithTimeout(ctx, b.options.Timeout)
	defer cancel()
	request, err := b.webhook(callCtx, n)
	if err == nil {
		began := time.Now()
		var status int
		var coalesced bool
		status, coalesced, err = b.exchange(request)
		switch {
		case err != nil && ctx.Err() != nil:
			return
		case err == nil:
			t.times = append(t.times, time.Since(began))
		}
		switch {
		case err != nil:
		case status >= 200 && status < 300:
			t.accepted++
			if coalesced {
				t.coalesced++
			}
			b.sent.Add(1)
			b.accepted.Add(1)
			return
		default:
			t.refused++
			t.complain(n, fmt.Sprintf("a webhook was answered with status %d", status))
		}
	}
	if err != nil {
		t.failed++
		t.complain(n, "a webhook got no answer: "+withoutURL(err))
	}
	b.sent.Add(1)
}

func (t *tally) complain(n int, problem string) {
	if t.problem == "" {
		t.problem, t.problemAt = problem, n
	}
}

// exchange sends a webhook and reads the whole answer, so that the connection
// can be used again.
func (b *burst) exchange(request *http.Request) (status int, coalesced bool, err error) {
	response, err := b.client.Do(request)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return 0, false, err
	}
	return response.StatusCode, bytes.Contains(body, []byte(`"coalesced":true`)), nil
}

func burstClient(options BurstOptions) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: options.Timeout}).DialContext,
			MaxIdleConns:        options.Connections,
			MaxIdleConnsPerHost: options.Connections,
			MaxConnsPerHost:     options.Connections,
			DisableCompression:  true,
		},
		// A redirect is no acceptance, and would carry the key elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// withoutURL drops the URL that the errors of net/http begin with: it holds the
// access key.
func withoutURL(err error) string {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	return err.Error()
}
