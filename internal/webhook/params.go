package webhook

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/url"
	"strings"
)

// maxBoundary is the longest boundary that RFC 2046 allows.
const maxBoundary = 70

// params are the parameters of a query or a form that a webhook may have.
type params struct {
	action, accessKey, contactID, id, role, notify, wait param
}

type param struct {
	text string
	list bool // written as name[]: its text is empty, but something was given
}

func (p param) empty() bool { return p.text == "" && !p.list }

// either returns the first parameter that is not empty.
func either(first, second param) param {
	if first.empty() {
		return second
	}
	return first
}

// set keeps the parameter if it is one of ours, in place of an earlier one.
func (p *params) set(name, text string) {
	base, _, list := strings.Cut(name, "[")
	field := p.named(base)
	switch {
	case field == nil:
	case list:
		*field = param{list: true}
	default:
		*field = param{text: text}
	}
}

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

// readQuery reads a query or a urlencoded form. It splits at & alone, as PHP
// does. net/url would drop a pair with a semicolon or a bad escape, and an
// earlier one of the same name would count in its place.
func (p *params) readQuery(query string) {
	for pair := range strings.SplitSeq(query, "&") {
		name, text, _ := strings.Cut(pair, "=")
		p.set(unescape(name), unescape(text))
	}
}

// unescape leaves a text with a bad escape as it is: no id and no action has a
// percent sign, and a key with one may have been sent unescaped.
func unescape(s string) string {
	if text, err := url.QueryUnescape(s); err == nil {
		return text
	}
	return s
}

// readMultipart reads the parts that are no files, and tells whether it came to
// the end.
func (p *params) readMultipart(body []byte, boundary string) bool {
	if boundary == "" || len(boundary) > maxBoundary {
		return false
	}
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := reader.NextPart()
		if err != nil {
			// The reader takes some forms that broke off for complete ones.
			return errors.Is(err, io.EOF) && bytes.Contains(body, []byte("--"+boundary+"--"))
		}
		if part.FileName() != "" {
			continue
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return false
		}
		p.set(part.FormName(), string(text))
	}
}
