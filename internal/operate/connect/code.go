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
)

// Code is a connection code as the plugin makes it.
type Code struct {
	Site   string `json:"site"` // the site's address
	Secret string `json:"secret"`
}

// codePrefix begins every code; the number is the version of what follows.
const codePrefix = "spw1"

// ErrNotWhole reports the beginning of a code.
var ErrNotWhole = errors.New("the connection code is not whole: copy all of it")

// ParseCode finds the code in what was pasted. What no code has in it does no
// harm: blanks, line breaks, quotes, marks of a quoted mail, invisible characters,
// words around it. The error says what to do, and shows nothing of the code.
func ParseCode(pasted string) (Code, error) {
	pasted = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r) {
			return r
		}
		return -1
	}, pasted)
	_, code, found := strings.Cut(pasted, codePrefix+".")
	if !found {
		return Code{}, errors.New("this is no connection code: it begins with " + codePrefix + ". and is shown under Tools » Spillway in wp-admin")
	}
	encoded, sum, _ := strings.Cut(code, ".")
	digest := sha256.Sum256([]byte(encoded))
	if !strings.HasPrefix(sum, hex.EncodeToString(digest[:4])) {
		return Code{}, ErrNotWhole
	}
	content, err := base64.RawURLEncoding.DecodeString(encoded)
	var read Code
	if err != nil || json.Unmarshal(content, &read) != nil || read.Secret == "" {
		return Code{}, errors.New("the connection code cannot be read: make another under Tools » Spillway")
	}
	site, err := url.Parse(read.Site)
	switch {
	case err != nil || site.Host == "" || site.User != nil || site.Scheme != "https" && site.Scheme != "http":
		return Code{}, errors.New("the connection code names no site: make another under Tools » Spillway")
	case site.Scheme == "http" && !isLoopback(site.Hostname()):
		return Code{}, fmt.Errorf("the connection code is for %s, where it would travel in plain text: give the site HTTPS, set its address to https:// under Settings » General, and make another code", read.Site)
	}
	read.Site = strings.TrimRight(read.Site, "/")
	return read, nil
}

// Address is the site's address. If one of the given addresses is the same with a
// user and a password in it, for the web server's Basic authentication, that one is
// returned: no code holds them.
func (c Code) Address(given ...string) string {
	for _, address := range given {
		u, err := url.Parse(strings.TrimRight(strings.TrimSpace(address), "/"))
		if err != nil || u.User == nil {
			continue
		}
		bare := *u
		bare.User = nil
		if strings.EqualFold(bare.String(), c.Site) {
			return u.String()
		}
	}
	return c.Site
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
