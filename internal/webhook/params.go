package webhook

import (
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// params are the parameters of a query or a form that a webhook may have.
type params struct {
	action, accessKey, contactID, id, role, notify, wait param
	// glued is the access key with what came after a "?" in it, as long as it
	// is not known whether that belongs to the key.
	glued string
}

type param struct {
	text string
	list bool // written as name[]: its text is empty, but something was given
}

func (v param) empty() bool { return v.text == "" && !v.list }

// either returns the first parameter that is not empty.
func either(first, second param) param {
	if first.empty() {
		return second
	}
	return first
}

// set keeps the parameter if it is one of ours, in place of an earlier one, and
// tells whether it is.
func (p *params) set(name, text string) bool {
	field, list := p.named(name), false
	if field == nil && !isUsual(name) {
		name, list = plainName(name)
		field = p.named(name)
	}
	switch {
	case field == nil:
		return name == "" || name == "email" || name == "async" // WP Fusion's own
	case list:
		*field = param{list: true}
	default:
		*field = param{text: trim(text)}
	}
	return true
}

// setList is set for what is no value, whatever its text.
func (p *params) setList(name string) bool { return p.set(name+"[", "") }

func (p *params) named(name string) *param {
	switch name {
	case "wpf_action":
		return &p.action
	case "access_key":
		return &p.accessKey
	case "contact_id":
		return &p.contactID
	case "id":
		return &p.id
	case "role":
		return &p.role
	case "send_notification":
		return &p.notify
	case "wait":
		return &p.wait
	default:
		return nil
	}
}

// isUsual tells whether a name is the same for PHP.
func isUsual(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// escapedAmps are what becomes of a "&" in a URL that went through HTML, after
// the "&" at which it was split.
var escapedAmps = []string{"amp;", "#38;", "#038;", "#x26;", "#X26;"}

var underscores = strings.NewReplacer(".", "_", " ", "_")

// plainName returns a name as PHP reads it: without leading blanks, with "_" for
// blanks and dots, and without the "[" that makes a list.
func plainName(name string) (plain string, list bool) {
	name = trim(name)
	for i := 0; i < len(escapedAmps); i++ {
		if rest, escaped := strings.CutPrefix(name, escapedAmps[i]); escaped {
			name, i = trim(rest), -1
		}
	}
	name, _, list = strings.Cut(name, "[")
	return underscores.Replace(name), list
}

// readQuery reads a query. It splits at & alone, as PHP does. net/url would drop
// a pair with a semicolon or a bad escape, and an earlier one of the same name
// would count in its place.
func (p *params) readQuery(query string) {
	query = withoutFragment(query)
	glued := strings.Contains(query, "?")
	for pair := range strings.SplitSeq(query, "&") {
		if glued {
			pair = p.readGlued(pair)
		}
		p.readPair(pair)
	}
}

// withoutFragment cuts off what follows a "#": web servers do so as well. That of
// an escaped "&" is none.
func withoutFragment(query string) string {
	for i := range len(query) {
		if query[i] == '#' && !slices.ContainsFunc(escapedAmps, func(escaped string) bool {
			return strings.HasPrefix(query[i:], escaped)
		}) {
			return query[:i]
		}
	}
	return query
}

// readGlued reads the pairs that a "?" ends and returns the last one.
func (p *params) readGlued(pair string) string {
	for {
		first, rest, cut := cutAtQuery(pair)
		if !cut {
			return pair
		}
		p.readPair(strings.TrimSuffix(first, "/")) // some put "/?" before what they add
		if key, isKey := strings.CutPrefix(pair, "access_key="); isKey {
			p.glued = trim(unescape(key))
		}
		pair = rest
	}
}

func (p *params) readPair(pair string) bool {
	name, text, _ := strings.Cut(pair, "=")
	return p.set(unescape(name), unescape(text))
}

// cutAtQuery cuts a pair at a "?" with which a sender began a second query. A
// "?" that no parameter follows belongs to the value.
func cutAtQuery(pair string) (first, rest string, cut bool) {
	for i := range len(pair) {
		if pair[i] != '?' {
			continue
		}
		rest = pair[i+1:]
		name, _, hasValue := strings.Cut(rest, "=")
		if i == 0 || rest == "" || (hasValue && isName(name)) {
			return pair[:i], rest, true
		}
	}
	return "", "", false
}

// isName tells whether a text may be a parameter's name, still escaped.
func isName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !isUsual(string(r)) && !strings.ContainsRune(".%[]+;", r)
	})
}

// unescape leaves a text with a bad escape as it is: no id and no action has a
// percent sign, and a key with one may have been sent unescaped.
func unescape(s string) string {
	if text, err := url.QueryUnescape(s); err == nil {
		return text
	}
	return s
}

// trim takes the blanks off that people paste along and programs add: white
// space of any kind, NUL, a byte order mark, and a blank that was escaped twice.
func trim(s string) string {
	if s == "" || (isPlain(s[0]) && isPlain(s[len(s)-1]) && !strings.Contains(s, "%")) {
		return s
	}
	for s != "" {
		if r, size := utf8.DecodeRuneInString(s); isBlank(r, s[0]) {
			s = s[size:]
			continue
		}
		if r, size := utf8.DecodeLastRuneInString(s); isBlank(r, s[len(s)-1]) {
			s = s[:len(s)-size]
			continue
		}
		switch {
		case len(s) >= 3 && isEscapedBlank(s[:3]):
			s = s[3:]
		case len(s) >= 3 && isEscapedBlank(s[len(s)-3:]):
			s = s[:len(s)-3]
		default:
			return s
		}
	}
	return s
}

// isEscapedBlank knows the blanks that follow a pasted value: WordPress removes
// what is still escaped after it was read.
func isEscapedBlank(s string) bool {
	switch strings.ToLower(s) {
	case "%20", "%09", "%0a", "%0d":
		return true
	default:
		return false
	}
}

func isPlain(c byte) bool { return '!' <= c && c <= '~' }

// isBlank takes the byte along for a text that is not UTF-8: in Latin-1 and its
// like a byte of its own is the space that does not break.
func isBlank(r rune, c byte) bool {
	switch {
	case r == utf8.RuneError:
		return c == 0xa0
	case r == 0, r == '\ufeff', r == '\u2060', '\u200b' <= r && r <= '\u200f':
		return true
	default:
		return unicode.IsSpace(r)
	}
}
