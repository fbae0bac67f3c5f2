package guard

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	random "math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/web"
)

// Prober measures what a page of the site takes, for the [Guard]: every second
// while a burst drains, once a minute otherwise. Any number of replicas may run
// one; the page is asked for by one of them at a time.
//
// In Redis, KEY:prober holds the replica that asks, for as long as that may
// take.
type Prober struct {
	guard *Guard
	url   string
	http  *http.Client
	times probeTimes
	// failures counts this process's measurements in a row that gave no time.
	failures int
}

// probeTimes are the prober's intervals.
type probeTimes struct {
	draining, learning, resting time.Duration
}

const (
	// probeTimeout ends one measurement, which then counts as that long.
	probeTimeout = 10 * time.Second
	// longestPage bounds what is read of the page.
	longestPage = 8 << 20
	// hopeful is how many failures in a row end the hurry to learn a base: a
	// wrong address stays wrong, and each request costs the site something.
	hopeful = 5
)

// NewProber returns the prober of a page. roots are the authorities that may
// have signed its certificate; nil: the machine's.
func NewProber(guard *Guard, url string, roots *x509.CertPool) *Prober {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	web.Secure(transport, roots)
	return &Prober{
		guard: guard, url: url, http: &http.Client{Timeout: probeTimeout, Transport: transport},
		// Without a base the guard has nothing to compare with.
		times: probeTimes{draining: time.Second, learning: 2 * time.Second, resting: time.Minute},
	}
}

// Run measures until ctx ends. report gets the errors of the page and of Redis,
// each once until another one or none follows; they do not end it.
func (p *Prober) Run(ctx context.Context, report func(error)) {
	last := ""
	for wait(ctx, p.times.draining/2+random.N(max(p.times.draining/4, 1))) == nil { //nolint:gosec // it spreads load, it guards nothing
		measured, err := p.round(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && err.Error() != last:
			last = err.Error()
			report(err)
		case measured && err == nil:
			last = ""
		}
	}
}

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// round measures if it is time and no other replica does.
func (p *Prober) round(ctx context.Context) (measured bool, err error) {
	g := p.guard
	now, err := g.read(ctx, g.rdb)
	if err != nil {
		return false, fmt.Errorf("reading the site guard's state: %w", err)
	}
	if !p.due(now, time.Now()) {
		return false, nil
	}
	key, token := g.key+":prober", rand.Text()
	// The lease outlasts the measurement, so no second one begins meanwhile.
	err = g.rdb.SetArgs(ctx, key, token, redis.SetArgs{Mode: "NX", TTL: probeTimeout + 5*time.Second}).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("taking the lease of the page's prober: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTimeout)
		defer cancel()
		_ = giveBackScript.Run(ctx, g.rdb, []string{key}, token).Err()
	}()
	// Another replica may have measured just before.
	if now, err = g.read(ctx, g.rdb); err != nil || !p.due(now, time.Now()) {
		return false, err
	}
	took, pageErr := p.measure(ctx)
	if ctx.Err() != nil {
		return false, nil //nolint:nilerr // the program is stopping
	}
	if p.failures++; pageErr == nil {
		p.failures = 0
	}
	g.change(ctx, func(after *pressure) {
		moment := time.Now()
		undisturbed := !now.busy(moment) && after.SentAt == now.SentAt && pageErr == nil
		after.probed(moment, took, undisturbed)
	})
	return true, pageErr
}

// due says whether it is time to measure the page.
func (p *Prober) due(now pressure, moment time.Time) bool {
	interval := p.times.draining
	if now.resting(moment) {
		interval = p.times.resting
		if now.Page.Base == 0 && p.failures < hopeful {
			interval = p.times.learning
		}
	}
	return moment.UnixMilli()-now.ProbedAt >= interval.Milliseconds()
}

// giveBackScript ends a lease, unless it has passed to another.
//
// KEYS[1] the lease  ARGV[1] the holder
var giveBackScript = redis.NewScript(`
if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end
return 0
`)

// measure asks for the page as a visitor does. A page that fails counts as one
// that takes as long as is waited for it.
func (p *Prober) measure(ctx context.Context) (took time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return probeTimeout, errors.New("SPILLWAY_SITE_PROBE_URL is no address: write it as https://example.com/")
	}
	request.Header.Set("User-Agent", "Spillway")
	began := time.Now()
	response, err := p.http.Do(request)
	if err != nil {
		return probeTimeout, fmt.Errorf("the page of SPILLWAY_SITE_PROBE_URL did not answer: %w", withoutAddress(err))
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, longestPage)); err != nil {
		return probeTimeout, fmt.Errorf("the page of SPILLWAY_SITE_PROBE_URL broke off: %w", err)
	}
	took = time.Since(began)
	switch status := response.StatusCode; {
	case status >= http.StatusInternalServerError || status == http.StatusTooManyRequests:
		took = probeTimeout
		fallthrough
	case status >= http.StatusBadRequest: // a page, too, if hardly the one that was meant
		return took, fmt.Errorf("the page of SPILLWAY_SITE_PROBE_URL answered with status %d", status)
	}
	return took, nil
}

// withoutAddress takes the URL out of a client's error: its query may hold a
// secret.
func withoutAddress(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
