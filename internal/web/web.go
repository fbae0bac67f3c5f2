// Package web understands what stands between Spillway and WordPress: web
// servers, firewalls, CDNs, and the pages with which they and WordPress answer.
// It makes the HTTP client with which a site is called, and says how kept
// connections are used, for the CRM's too.
//
// What it returns is fit for logs: no address with a path, no e-mail address, no
// control character, and no more than a few lines of it.
package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// connectTimeout is how long connecting to a site may take.
const connectTimeout = 5 * time.Second

// Client returns a client that follows no redirect: a POST would become a GET,
// or take a secret to another host. It is a copy of given, or, if that is nil,
// one of its own that verifies certificates by roots (nil: the system's).
func Client(given *http.Client, roots *x509.CertPool) *http.Client {
	client := &http.Client{}
	if given != nil {
		*client = *given
	} else {
		dialer := &net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}
		transport := &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         dialer.DialContext,
			TLSHandshakeTimeout: connectTimeout,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 8,
			IdleConnTimeout:     60 * time.Second,
		}
		Secure(transport, roots)
		client.Transport = transport
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client
}

// Secure sets how connections of a client are encrypted and kept. Certificates are
// verified by roots (nil: the system's). A connection of HTTP/2 that has gone
// silent is asked for a sign of life, and closed without one: its requests would
// time out otherwise, and all later ones, which share it, until the operating
// system gives it up a quarter of an hour later.
func Secure(transport *http.Transport, roots *x509.CertPool) {
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: 8 * time.Second, PingTimeout: 4 * time.Second}
}

// Repeatable lets net/http send a request once more whose kept connection the
// server closed at the same moment. It does so by itself for a GET alone. The
// request must be one that may be carried out twice. No such header is sent.
func Repeatable(header http.Header) { header["X-Idempotency-Key"] = nil }

// ParseURL reads SPILLWAY_SITE_URL. It returns the address without user and
// password, and those: they are for the web server's own Basic authentication.
// Its errors do not show the address, which may hold a password.
func ParseURL(address string) (*url.URL, *url.Userinfo, error) {
	base, err := url.Parse(strings.TrimSpace(address))
	switch {
	case err != nil:
		return nil, nil, errors.New("SPILLWAY_SITE_URL is no address: write it as https://example.com")
	case base.Scheme != "https" && base.Scheme != "http" || base.Host == "":
		return nil, nil, errors.New("SPILLWAY_SITE_URL: write it as https://example.com")
	case base.RawQuery != "" || base.Fragment != "":
		return nil, nil, errors.New("SPILLWAY_SITE_URL: leave query and fragment out")
	}
	server := base.User
	base.User = nil
	return base, server, nil
}

// IsTimeout reports that a request failed because its time was over.
func IsTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// ConnectError explains why there is no connection. Only errors whose text is
// known to be harmless are repeated; that of *url.Error holds the URL.
func ConnectError(err error) string {
	var dns *net.DNSError
	var operation *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case IsTimeout(err):
		return "connecting took too long"
	case errors.As(err, &dns):
		return "its host name is not known; check SPILLWAY_SITE_URL"
	case errors.As(err, &certificate):
		return "its certificate is not valid: " + Plain(certificate.Err.Error()) + "; check SPILLWAY_SITE_URL's host, or put your own authority into SPILLWAY_CA"
	case errors.As(err, &operation):
		return Plain(operation.Err.Error())
	default:
		return "it does not speak HTTP as SPILLWAY_SITE_URL has it; check https and http"
	}
}

const (
	// WordPress asks for this in maintenance mode, which lasts as long as an
	// update copies files: seconds.
	maintenanceAsked = 600 * time.Second
	maintenance      = 30 * time.Second
)

// RetryAfter reads the header of that name, which is seconds or a date; zero if
// there is none.
func RetryAfter(status int, header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.Atoi(value); err == nil {
		// More would overflow; nobody waits that long.
		after := time.Duration(min(max(seconds, 0), 1<<30)) * time.Second
		if status == http.StatusServiceUnavailable && after == maintenanceAsked {
			return maintenance
		}
		return after
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	// The site's clock gave the date, so compare it with that clock.
	if sent, err := http.ParseTime(header.Get("Date")); err == nil {
		now = sent
	}
	return max(0, at.Sub(now))
}

var addressLike = regexp.MustCompile(`[^\s@<>"']+@[^\s@<>"']+`)

// longestMessage bounds what a site may put into an error.
const longestMessage = 200

// Plain makes a message of a site fit for logs. Messages of plugins may hold
// personal data.
func Plain(message string) string {
	message = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, message)
	message = addressLike.ReplaceAllString(message, "(address)")
	if runes := []rune(message); len(runes) > longestMessage {
		message = string(runes[:longestMessage]) + "…"
	}
	return message
}
