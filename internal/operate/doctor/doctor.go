// Package doctor examines an installation from where it is called: Redis, the
// CRM, the site, the clocks, the way of a webhook from outside, and whether
// anybody works. Each finding says what was seen and, unless all is well, what
// to do.
//
// It changes nothing: it reads, calls "test", and seals one entry that forgets
// itself to see that the secret key works. With OAuth it may renew the CRM's
// tokens as any worker would. Its calls to the CRM are taken from the shared
// budget. No finding shows a credential or a contact's data.
//
// Settings may be missing: what cannot be examined without them is skipped,
// with the reason.
package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/config"
	"spillway/internal/site"
	"spillway/internal/vault"
)

// Status says how serious a finding is.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Warn    Status = "warn" // works, with a risk or at a loss
	Fail    Status = "fail" // does not work, or loses something
	Skipped Status = "skip" // could not be examined
)

// Finding is one line of a report.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// Report is what an examination found.
type Report struct {
	Findings []Finding `json:"findings"`
	OK       int       `json:"ok"`
	Warned   int       `json:"warn"`
	Failed   int       `json:"fail"`
	Skipped  int       `json:"skip"`
}

// Find returns the finding of a check.
func (r Report) Find(check string) (Finding, bool) {
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Check == check })
	if i < 0 {
		return Finding{}, false
	}
	return r.Findings[i], true
}

// checkTimeout bounds each group of checks.
const checkTimeout = 30 * time.Second

// examination is a report in the making, with what later checks need of
// earlier ones.
type examination struct {
	settings config.Config
	report   Report

	rdb       redis.UniversalClient // nil: Redis does not answer
	vault     *vault.Vault          // nil: no key, or no Redis
	keyWorks  bool
	crmFields map[string]string // nil: not read
	status    *site.Status      // nil: not read
	clocks    []clock
}

// Examine runs all checks.
func Examine(ctx context.Context, settings config.Config) Report {
	e := &examination{settings: settings}
	defer func() {
		if e.rdb != nil {
			_ = e.rdb.Close()
		}
	}()
	checks := []func(context.Context){
		e.redis, e.owner, e.secretKey, e.crm, e.site, e.fields, e.clock, e.webhooks, e.workers, e.compared, e.creations, e.mode,
	}
	if settings.Mode == config.Relay {
		checks = []func(context.Context){e.redis, e.owner, e.relayed, e.clock, e.webhooks, e.workers, e.creations, e.mode}
	}
	for _, check := range checks {
		limited, cancel := context.WithTimeout(ctx, checkTimeout)
		check(limited)
		cancel()
	}
	return e.report
}

func (e *examination) add(check string, status Status, remedy, format string, args ...any) {
	e.report.Findings = append(e.report.Findings, Finding{check, status, fmt.Sprintf(format, args...), remedy})
	switch status {
	case OK:
		e.report.OK++
	case Warn:
		e.report.Warned++
	case Fail:
		e.report.Failed++
	case Skipped:
		e.report.Skipped++
	}
}

func (e *examination) ok(check, format string, args ...any) { e.add(check, OK, "", format, args...) }

func (e *examination) warn(check, remedy, format string, args ...any) {
	e.add(check, Warn, remedy, format, args...)
}

func (e *examination) fail(check, remedy, format string, args ...any) {
	e.add(check, Fail, remedy, format, args...)
}

func (e *examination) skip(check, format string, args ...any) {
	e.add(check, Skipped, "", format, args...)
}

// answered records how the other side of an HTTP client answered last.
type answered struct {
	base   http.RoundTripper
	status int // 0: not at all
	date   time.Time
	sent   time.Time
	took   time.Duration
	expiry time.Time // of the certificate; zero without TLS
}

func (e *examination) newAnswered() *answered {
	base := http.DefaultTransport
	if transport, ok := base.(*http.Transport); ok {
		transport = transport.Clone()
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: e.settings.Roots}
		base = transport
	}
	return &answered{base: base}
}

// client has no redirects followed: each of the product's clients refuses them.
func (a *answered) client() *http.Client {
	return &http.Client{
		Transport: a, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// RoundTrip sends the request and notes the answer.
func (a *answered) RoundTrip(r *http.Request) (*http.Response, error) {
	a.sent, a.status = time.Now(), 0
	response, err := a.base.RoundTrip(r)
	a.took = time.Since(a.sent)
	if err != nil {
		return nil, err
	}
	a.status = response.StatusCode
	a.date, _ = http.ParseTime(response.Header.Get("Date"))
	if response.TLS != nil && len(response.TLS.PeerCertificates) > 0 {
		a.expiry = response.TLS.PeerCertificates[0].NotAfter
	}
	return response, nil
}

// certificate adds a finding on a certificate that is about to end.
func (e *examination) certificate(check string, expiry time.Time) {
	const soon = 14 * 24 * time.Hour
	if left := time.Until(expiry); !expiry.IsZero() && left < soon {
		e.warn(check, "renew the certificate, and see why it was not renewed by itself",
			"its certificate ends on %s", expiry.UTC().Format(time.DateOnly))
	}
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
