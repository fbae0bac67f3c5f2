package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// sameOrigin refuses changes that a page of another origin asks for, and host
// names that are not this machine's when there is no password. With sessions
// that other sites cannot use (SameSite=Strict) it makes tokens in forms
// needless.
func (d *Dashboard) sameOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	protection := http.NewCrossOriginProtection()
	return func(c echo.Context) error {
		if err := protection.Check(c.Request()); err != nil {
			return refuse(http.StatusForbidden, "cross_origin", "requests from another origin are refused")
		}
		if d.Password == "" && !loopback(c.Request().Host) {
			return refuse(http.StatusForbidden, "not_loopback",
				"without SPILLWAY_ADMIN_PASSWORD the admin address answers to 127.0.0.1, [::1] and localhost only")
		}
		return next(c)
	}
}

func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// pageHeaders lets our pages load nothing but what this server serves, and no
// script or style that stands in a page.
func pageHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		// With no-referrer a form's Origin would be "null", and so from another
		// origin where the browser says no more (plain HTTP).
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		return next(c)
	}
}

// monitorHeaders bears asynq's monitor, which writes scripts and styles into
// its page, and keeps it from loading fonts from elsewhere.
func monitorHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set("Content-Security-Policy", "default-src 'self' 'unsafe-inline' data:; frame-ancestors 'none'")
		return next(c)
	}
}

// The keys under which a context says that a session was used, and that the
// person may open one site alone.
const (
	signedIn = "signed in"
	limited  = "limited"
)

// authenticate lets a request through that has the password or a session.
func (d *Dashboard) authenticate(next echo.HandlerFunc) echo.HandlerFunc {
	if d.Password == "" {
		return next
	}
	return func(c echo.Context) error {
		if user, password, ok := c.Request().BasicAuth(); ok {
			right, wait := d.try(c.Request(), user, password)
			switch {
			case right:
				c.Set(limited, user != User)
				return next(c)
			case wait > 0:
				return tooMany(c, wait)
			}
			return d.askToSignIn(c)
		}
		opens, err := d.sessions.reach(c.Request().Context(), tokenOf(c.Request()))
		switch {
		case err != nil:
			return d.unavailable(c, err)
		case opens != nothing:
			c.Set(signedIn, true)
			c.Set(limited, opens == oneSite)
			return next(c)
		}
		return d.askToSignIn(c)
	}
}

// try checks a name and a password, unless the client has tried too often.
func (d *Dashboard) try(r *http.Request, user, password string) (right bool, wait time.Duration) {
	right, wait = d.attempts.try(clientOf(r), func() bool {
		ok := same(user+":"+password, User+":"+d.Password)
		if d.SitePassword != "" {
			ok = same(user+":"+password, d.Site+":"+d.SitePassword) || ok
		}
		return ok
	})
	if !right {
		d.complaints.Warn().Bool("held", wait > 0).Msg("a sign-in at the admin address was refused")
	}
	return right, wait
}

// same compares secrets in a time that tells neither their contents nor their lengths.
func same(a, b string) bool {
	left, right := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(left[:], right[:]) == 1
}

func tooMany(c echo.Context, wait time.Duration) error {
	seconds := int(wait/time.Second) + 1
	c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(seconds))
	return refuse(http.StatusTooManyRequests, "too_many_attempts",
		"too many wrong passwords; try again in "+strconv.Itoa(seconds)+" seconds")
}

// askToSignIn sends a person to the page and tells a program how.
func (d *Dashboard) askToSignIn(c echo.Context) error {
	r := c.Request()
	navigates := r.Method == http.MethodGet && wantsPage(r)
	if navigates && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		// A link on another site was followed. The browser kept the session to
		// itself then; it sends it when our own page asks.
		return d.render(c, http.StatusOK, "bounce", "Spillway", localPath(r.URL.RequestURI()))
	}
	if navigates {
		target := "/login"
		if r.URL.Path != "/" {
			target += "?next=" + url.QueryEscape(r.URL.RequestURI())
		}
		return c.Redirect(http.StatusSeeOther, d.at(target))
	}
	if r.Header.Get("Sec-Fetch-Mode") == "" || r.Header.Get("Sec-Fetch-Mode") == "navigate" {
		// A script of ours whose session has ended must not raise the browser's
		// own dialog.
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, `Basic realm="Spillway", charset="UTF-8"`)
	}
	return refuse(http.StatusUnauthorized, "unauthorized", "sign in as admin with SPILLWAY_ADMIN_PASSWORD")
}

// clientOf names the client whose attempts are counted: its address, or the
// network that one IPv6 customer gets. What a request says of a proxy is not
// believed, since anyone can say it: behind one, all clients are one.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.To4() != nil {
		return host
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}
