package web

import (
	"bytes"
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

// TrimBOM takes off what a PHP file that was saved with a byte order mark puts
// in front of every answer.
func TrimBOM(b []byte) []byte { return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) }

func head(body []byte) []byte { return body[:min(len(body), longestHead)] }
