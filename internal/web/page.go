package web

import (
	"bytes"
	"encoding/json"
	"html"
	"net/http"
	"regexp"
	"strings"
)

// longestHead is how much of a page is looked at.
const longestHead = 64 << 10

var (
	pageLike      = regexp.MustCompile(`(?i)<(!doctype|html|head|body|title)\b`)
	challengeLike = regexp.MustCompile(`(?i)/cdn-cgi/challenge-platform/|/\.well-known/(sg)?captcha/|<title>\s*(just a moment|attention required|robot challenge)`)
	titleLike     = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)
	messageLike   = regexp.MustCompile(`(?is)class="wp-die-message"[^>]*>(.*?)</div>`)
	tagLike       = regexp.MustCompile(`<[^>]*>`)
)

// IsPage reports that an answer is HTML.
func IsPage(body []byte) bool { return pageLike.Match(head(body)) }

// IsChallenge recognises the pages with which hosts and CDNs keep programs away.
func IsChallenge(header http.Header, body []byte) bool {
	return header.Get("Cf-Mitigated") != "" || header.Get("Sg-Captcha") != "" || challengeLike.Match(head(body))
}

// Words tells what a person would read on a page: the message with which
// WordPress gave up, or else the page's title, in «». Empty: neither.
func Words(body []byte) string {
	for _, like := range []*regexp.Regexp{messageLike, titleLike} {
		if found := like.FindSubmatch(head(body)); found != nil {
			if words := Quoted(string(found[1])); words != "" {
				return words
			}
		}
	}
	return ""
}

// Text returns what HTML says, without its tags and with single blanks.
func Text(text string) string {
	return strings.Join(strings.Fields(html.UnescapeString(tagLike.ReplaceAllString(text, " "))), " ")
}

// Quoted shows what HTML says, in «»; empty for nothing.
func Quoted(text string) string {
	if words := Text(text); words != "" {
		return "«" + Plain(words) + "»"
	}
	return ""
}

// Trimmed takes off what may stand around WordPress's JSON: the byte order mark of
// a PHP file, and what PHP and plugins print where errors are shown to visitors.
// Of several objects the longest is WordPress's. A page stays as it is, and so does
// what holds no object.
func Trimmed(body []byte) []byte {
	body = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf")))
	if json.Valid(body) || IsPage(body) {
		return body
	}
	const mostTries = 100
	var longest json.RawMessage
	for at, tries := 0, 0; at < len(head(body)) && tries < mostTries; at++ {
		if body[at] != '{' {
			continue
		}
		tries++
		var object json.RawMessage
		if json.NewDecoder(bytes.NewReader(body[at:])).Decode(&object) != nil {
			continue
		}
		if len(object) > len(longest) {
			longest = object
		}
		at += len(object) - 1
	}
	if longest == nil {
		return body
	}
	return longest
}

func head(body []byte) []byte { return body[:min(len(body), longestHead)] }
