package sandbox

import (
	"html"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

var (
	scriptContent = regexp.MustCompile(`(?is)<(script|style)[^>]*>.*?</(script|style)[^>]*>`)
	anyTag        = regexp.MustCompile(`<[^<>]*>`)
	plainTag      = regexp.MustCompile(`^</?(p|strong|em|b|i)>$`)
	ampersand     = regexp.MustCompile(`&(#?[a-zA-Z0-9]+;)?`)
	scriptAddress = regexp.MustCompile(`(?i)^((java|vb|live)script:|data:[a-z]+/[a-z0-9.+-]*(html|xml|svg|script))`)
)

// cleanValue cleans a text or a list of texts about as WordPress does, without
// attributes. It returns false when something of it has nothing left.
func cleanValue(key string, value any) (any, bool) {
	if one, isText := value.(string); isText {
		return cleanText(key, one)
	}
	list, _ := value.([]string)
	cleaned := make([]string, len(list))
	for i, element := range list {
		var ok bool
		if cleaned[i], ok = cleanText(key, element); !ok {
			return nil, false
		}
	}
	return cleaned, true
}

func cleanText(key, text string) (string, bool) {
	flat := strings.Map(func(r rune) rune {
		if r <= ' ' {
			return -1
		}
		return r
	}, html.UnescapeString(text))
	if scriptAddress.MatchString(flat) {
		return "", false
	}
	cleaned := strings.ReplaceAll(text, "\x00", "")
	switch {
	case key == "description":
		cleaned = strings.TrimSpace(encoded(cleaned, true))
	case slices.Contains([]string{"first_name", "last_name", "nickname", "display_name"}, key):
		cleaned = strings.Join(strings.Fields(encoded(scriptContent.ReplaceAllString(cleaned, ""), false)), " ")
	case strings.Contains(cleaned, "<"):
		cleaned = encoded(cleaned, true)
	}
	return cleaned, cleaned != "" || strings.TrimSpace(text) == ""
}

// encoded takes tags out, but for plain ones if they may stay, and encodes what
// would begin another.
func encoded(text string, tagsStay bool) string {
	var b strings.Builder
	for {
		at := anyTag.FindStringIndex(text)
		if at == nil {
			return b.String() + escaped(text)
		}
		b.WriteString(escaped(text[:at[0]]))
		if tag := text[at[0]:at[1]]; tagsStay && plainTag.MatchString(tag) {
			b.WriteString(tag)
		}
		text = text[at[1]:]
	}
}

func escaped(text string) string {
	text = ampersand.ReplaceAllStringFunc(text, func(found string) string {
		if len(found) > 1 {
			return found
		}
		return "&amp;"
	})
	return strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(text)
}

// folded is a key as the database compares it: without case, accents and what is
// invisible.
func folded(key string) string {
	return strings.ToLower(strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Mn, unicode.Cf, unicode.Cc) {
			return -1
		}
		return r
	}, norm.NFKD.String(key))))
}
