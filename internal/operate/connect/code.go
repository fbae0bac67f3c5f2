// Package connect makes a site's settings from a connection code. It exchanges
// the code at the site, turns WP Fusion's settings into Spillway's, and says what
// became of each one.
//
// It guarantees that the file holds only what the site handed over or what
// Spillway needs in its place, that only its owner can read the file (mode 0600),
// and that no remark holds a secret. It sends a code only over HTTPS or to this
// machine itself. Where WP Fusion behaves differently, a remark says so; see
// docs/moving-from-wp-fusion.md.
package connect

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"unicode"
)

// Code is a connection code as the plugin makes it.
type Code struct {
	Site   string `json:"site"` // the site's address
	Secret string `json:"secret"`
}

// codePrefix begins every code; the number is the version of what follows.
const codePrefix = "spw1"

// ParseCode reads a pasted code; spaces and line breaks in it do no harm. The
// error says what to do, and shows nothing of the code.
func ParseCode(pasted string) (Code, error) {
	pasted = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '\ufeff' {
			return -1
		}
		return r
	}, pasted)
	parts := strings.Split(pasted, ".")
	if len(parts) != 3 || parts[0] != codePrefix {
		return Code{}, errors.New("this is no connection code: it begins with " + codePrefix + ". and is shown under Tools » Spillway in wp-admin")
	}
	digest := sha256.Sum256([]byte(parts[1]))
	if hex.EncodeToString(digest[:4]) != parts[2] {
		return Code{}, errors.New("the connection code is not whole: copy all of it")
	}
	content, err := base64.RawURLEncoding.DecodeString(parts[1])
	var code Code
	if err != nil || json.Unmarshal(content, &code) != nil || code.Secret == "" {
		return Code{}, errors.New("the connection code cannot be read: make another under Tools » Spillway")
	}
	site, err := url.Parse(code.Site)
	switch {
	case err != nil || site.Host == "" || site.User != nil || site.Scheme != "https" && site.Scheme != "http":
		return Code{}, errors.New("the connection code names no site: make another under Tools » Spillway")
	case site.Scheme == "http" && !isLoopback(site.Hostname()):
		return Code{}, fmt.Errorf("the connection code is for %s, where it would travel in plain text: give the site HTTPS, set its address to https:// under Settings » General, and make another code", code.Site)
	}
	code.Site = strings.TrimRight(code.Site, "/")
	return code, nil
}

// longestName is how long a site's name may be; see package sites.
const longestName = 40

// SiteName proposes a name for the site's settings: its host, without www, as far
// as a name may be long.
func (c Code) SiteName() string {
	site, err := url.Parse(c.Site)
	if err != nil {
		return "site"
	}
	name := strings.TrimPrefix(strings.ToLower(site.Hostname()), "www.") + strings.ToLower(site.Path)
	name = strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name), "-")
	name = strings.TrimRight(name[:min(len(name), longestName)], "-")
	if name == "" {
		return "site"
	}
	return name
}

func isLoopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}
