package config

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"spillway/internal/redisconn"
)

// require reports a setting that is needed and not given at all.
func (s *settings) require(needed bool, name, remedy string) {
	switch path, isEmpty := s.empty[name]; {
	case !needed || s.given(name):
	case isEmpty:
		s.problem(name, " is missing, the file %s is empty: %s", path, remedy)
	default:
		s.problem(name, " is missing: %s", remedy)
	}
}

// number reads a count from least to most.
func (s *settings) number(name string, fallback, least, most int) int {
	text := s.text(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		s.wrong(name, text, "use a whole number from %d to %d", least, most)
	}
	return n
}

// flag reads true or false; not given is false.
func (s *settings) flag(name string) bool {
	text := s.text(name)
	if text == "" {
		return false
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		s.wrong(name, text, "use true or false")
	}
	return on
}

// key reads 32 bytes in base64; nil: not given, or wrong and reported.
func (s *settings) key(name string) []byte {
	encoded := s.secret(name)
	if encoded == "" {
		return nil
	}
	key := decodeKey(encoded)
	if key == nil {
		s.problem(name, ": not 32 bytes in base64, %s", keyRemedy)
	}
	return key
}

// duration reads a time from none to most.
func (s *settings) duration(name string, fallback, most time.Duration) time.Duration {
	text := s.text(name)
	if text == "" {
		return fallback
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > most {
		s.wrong(name, text, "use a time from 0 to %v with its unit, such as 1s or 500ms", most)
		return 0
	}
	return d
}

func (s *settings) rate(name string, fallback float64) float64 {
	const least, most = 0.1, 10000
	text := s.text(name)
	if text == "" {
		return fallback
	}
	rate, err := strconv.ParseFloat(text, 64)
	// Written so that NaN fails it, too.
	if inBounds := rate >= least && rate <= most; err != nil || !inBounds {
		s.wrong(name, text, "use a number from %v to %v", least, most)
	}
	return rate
}

// baseURL reads the address of another system, without a slash at the end.
// extra is a path that Spillway adds itself and people tend to copy along.
// carried names the secret that is sent there: such an address must be https
// unless it is on this machine. Empty: no secret is sent.
func (s *settings) baseURL(name, extra, carried string) string {
	return s.checkBase(name, s.text(name), extra, carried)
}

// siteURL reads the site's address, which may contain a user and a password for
// the web server.
func (s *settings) siteURL(c *Site, carried string) {
	const name = "SPILLWAY_SITE_URL"
	raw := s.text(name)
	if u, err := url.Parse(raw); err == nil && u.User != nil && u.Host != "" {
		c.ServerUser = u.User.Username()
		c.ServerPassword, _ = u.User.Password()
		switch {
		case s.flags[name] != "":
			s.problem(name, ": holds credentials, which other users of the machine could read in ps: set %s or %s_FILE", name, name)
		case c.ServerUser == "" || c.ServerPassword == "" || strings.Contains(c.ServerUser, ":"):
			s.problem(name, ": before the @ belong the web server's USER:PASSWORD, or nothing")
		}
		u.User = nil
		raw = u.String()
	}
	c.URL = s.checkBase(name, raw, "/wp-json", carried)
}

func (s *settings) checkBase(name, raw, extra, carried string) string {
	// Before anything prints the value: it may hold a password or a key.
	if strings.ContainsAny(raw, "@?#") {
		s.problem(name, ": holds credentials, a query or a fragment, write scheme, host and path alone")
		return ""
	}
	u := s.webURL(name, raw)
	if u == nil {
		return ""
	}
	if u.Scheme == "http" && carried != "" && !isLoopback(u.Hostname()) {
		s.wrong(name, raw, "%s would travel in plain text, use https://", carried)
		return ""
	}
	if label, _, _ := strings.Cut(strings.TrimPrefix(u.Hostname(), "app."), "."); label == "ACCOUNT" {
		s.wrong(name, raw, "ACCOUNT stands for your account's name, write that")
		return ""
	}
	base := strings.TrimRight(raw, "/")
	if extra != "" && strings.Contains(base+"/", extra+"/") {
		s.wrong(name, raw, "leave %s and what follows out, it is added by itself", extra)
	}
	return base
}

// pageURL reads the address of a page exactly as a visitor asks for it: a slash
// at its end and a query belong to it.
func (s *settings) pageURL(name string) string {
	raw := s.text(name)
	if strings.ContainsAny(raw, "@#") {
		s.problem(name, ": holds credentials or a fragment, write scheme, host, path and query alone")
		return ""
	}
	if s.webURL(name, raw) == nil {
		return ""
	}
	return raw
}

// webURL checks what all addresses have in common. Nil: not given, or wrong and
// reported.
func (s *settings) webURL(name, raw string) *url.URL {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	raw = withoutQuery(raw)
	switch {
	case err != nil:
		s.wrong(name, raw, "not a URL, write https://HOST")
	case u.Scheme != "http" && u.Scheme != "https":
		s.wrong(name, raw, "unknown scheme, use https://")
	case u.Hostname() == "" || !validPort(u.Port(), true):
		s.wrong(name, raw, "no host or a wrong port, write https://HOST or https://HOST:PORT")
	default:
		return u
	}
	return nil
}

// withoutQuery returns an address as it may be shown: a query may hold a key.
func withoutQuery(address string) string {
	if before, _, found := strings.Cut(address, "?"); found {
		return before + "?…"
	}
	return address
}

// checkRedisURL reports a URL that cannot be connected to. It never shows the
// value, which may hold a password.
func (s *settings) checkRedisURL(name, raw string, role Role) {
	if raw == "embedded" {
		if role != All {
			s.problem(name, ": embedded works in one process only, and this one is not alone: use redis://HOST:PORT/0")
		}
		return
	}
	options, err := redisconn.Parse(raw)
	switch {
	case err != nil:
		s.problem(name, ": %v", err)
	case options.Username+options.Password+options.SentinelPassword != "" && s.flags[name] != "":
		s.problem(name, ": holds credentials, which other users of the machine could read in ps: set %s or %s_FILE", name, name)
	}
}

// ListenAddr returns the setting that says where a role's admin server listens
// (for a worker, its only one), and its value. It reads nothing else, so that
// asking a running program does not depend on settings that it does not need.
// The error is an [*Invalid] or a [*Usage].
func ListenAddr(role Role, args, environ []string) (name, addr string, err error) {
	flags, err := parseFlags(args)
	if err != nil {
		return "", "", err
	}
	s := newSettings(flags, environ)
	if name, addr = "SPILLWAY_ADMIN_ADDR", defaultAdminAddr; role == Worker {
		name, addr = "SPILLWAY_WORKER_ADDR", defaultWorkerAddr
	}
	if addr = s.address(name, addr); len(s.problems) > 0 {
		return "", "", &Invalid{Problems: s.problems}
	}
	return name, addr, nil
}

// address reads where a server listens.
func (s *settings) address(name, fallback string) string {
	addr := s.text(name)
	if addr == "" {
		return fallback
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil || !validPort(port, false) {
		s.wrong(name, addr, "write HOST:PORT, or :PORT for all interfaces")
	}
	return addr
}

func validPort(port string, mayBeMissing bool) bool {
	if port == "" {
		return mayBeMissing
	}
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip.IsLoopback()
}
