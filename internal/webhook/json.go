package webhook

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
)

const (
	maxDepth = 10_000
	// maxToken is the longest name, number or text that is kept.
	maxToken = 256
)

// readJSON returns the member id of a JSON object, empty if there is none. Any
// other member named alike, such as Id, is another member, and so is one of an
// object within.
//
// Senders that fill templates escape neither line breaks nor quotes. Line breaks
// change nothing. After a quote too many nothing can be trusted, and the error
// says so; an id that was read before it counts, if it was the only one.
func readJSON(in *bufio.Reader) (id param, err error) {
	s := scanner{in: in}
	err = s.scan()
	if err == nil {
		err = s.rest()
	}
	if err != nil && s.several {
		return param{}, err
	}
	return s.id, err
}

// scanner reads a JSON text byte by byte.
type scanner struct {
	in    *bufio.Reader
	stack []byte // of the objects and lists that are open: { and [
	token []byte // of the name, text or number that was read last

	id      param // of the outermost object, the last one
	found   bool
	several bool // there were ids that differ
}

// What may come next.
const (
	aValue = iota
	aValueOrEnd
	aName
	aNameOrEnd
	aColon
	aCommaOrEnd
)

// scan reads one value.
func (s *scanner) scan() error {
	next, isID := aValue, false
	for {
		c, err := s.sign()
		if err != nil {
			return err
		}
		switch {
		case c == '"' && (next == aName || next == aNameOrEnd):
			if err := s.text(); err != nil {
				return err
			}
			next, isID = aColon, len(s.stack) == 1 && trim(s.unquoted()) == "id"
		case c == ':' && next == aColon:
			next = aValue
		case c == ',' && next == aCommaOrEnd:
			if next = aValue; s.stack[len(s.stack)-1] == '{' {
				next = aName
			}
		case c == '}' && (next == aNameOrEnd || next == aCommaOrEnd) && s.open('{'),
			c == ']' && (next == aValueOrEnd || next == aCommaOrEnd) && s.open('['):
			s.stack = s.stack[:len(s.stack)-1]
			next = aCommaOrEnd
		case next != aValue && next != aValueOrEnd:
			return errBroken
		default:
			value, err := s.value(c)
			if err != nil {
				return err
			}
			if isID {
				s.keep(value)
				isID = false
			}
			switch c {
			case '{':
				next = aNameOrEnd
			case '[':
				next = aValueOrEnd
			default:
				next = aCommaOrEnd
			}
		}
		if len(s.stack) == 0 {
			return nil
		}
	}
}

func (s *scanner) open(c byte) bool { return len(s.stack) > 0 && s.stack[len(s.stack)-1] == c }

// value reads a value that begins with c, of an object or a list the beginning.
func (s *scanner) value(c byte) (param, error) {
	switch c {
	case '{', '[':
		if len(s.stack) == maxDepth {
			return param{}, errBroken
		}
		s.stack = append(s.stack, c)
		return param{list: true}, nil
	case '"':
		if err := s.text(); err != nil {
			return param{}, err
		}
		return param{text: trim(s.unquoted())}, nil
	}
	if err := s.literal(c); err != nil {
		return param{}, err
	}
	switch string(s.token) {
	case "null":
		return param{}, nil
	case "true", "false":
		return param{list: true}, nil
	default:
		return param{text: string(s.token)}, nil
	}
}

func (s *scanner) keep(id param) {
	id.text = whole(id.text)
	s.several = s.several || (s.found && s.id != id)
	s.id, s.found = id, true
}

// whole writes a whole number as an id is written, however it is spelled: for WP
// Fusion, too, 110.0, 1.1e2 and "00110" are 110. Any other text stays as it is,
// and so does a number of which a float would lose digits.
func whole(text string) string {
	const digits = "0123456789"
	if strings.Trim(text, digits) == "" {
		if significant := strings.TrimLeft(text, "0"); significant != "" {
			return significant
		}
		return text
	}
	if strings.Trim(text, digits+".eE+") != "" {
		return text
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || number != math.Trunc(number) || number >= 1<<53 {
		return text
	}
	return strconv.FormatInt(int64(number), 10)
}

// sign returns the next byte that is no white space.
func (s *scanner) sign() (byte, error) {
	for {
		c, err := s.in.ReadByte()
		if err != nil || (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
			return c, tooEarly(err)
		}
	}
}

// tooEarly takes the end of a text for a fault.
func tooEarly(err error) error {
	if errors.Is(err, io.EOF) {
		return errBroken
	}
	return err
}

// text reads a text after its first quote.
func (s *scanner) text() error {
	s.token = append(s.token[:0], '"')
	for escaped := false; ; {
		if _, err := s.in.Peek(1); err != nil {
			return tooEarly(err)
		}
		there, _ := s.in.Peek(s.in.Buffered())
		for i, c := range there {
			if len(s.token) < maxToken {
				// A control character is not escaped, and trimmed where that matters.
				s.token = append(s.token, max(c, ' '))
			}
			if c == '"' && !escaped {
				_, err := s.in.Discard(i + 1)
				return err
			}
			escaped = c == '\\' && !escaped
		}
		if _, err := s.in.Discard(len(there)); err != nil {
			return err
		}
	}
}

// unquoted returns the text that was read last, with its quotes if it has none
// that could be an id or a name.
func (s *scanner) unquoted() string {
	if len(s.token) == maxToken {
		return string(s.token)
	}
	if !bytes.Contains(s.token, []byte(`\`)) {
		return string(s.token[1 : len(s.token)-1])
	}
	var text string
	if err := json.Unmarshal(s.token, &text); err != nil {
		return string(s.token)
	}
	return text
}

// literal reads a number, true, false or null.
func (s *scanner) literal(c byte) error {
	s.token = append(s.token[:0], c)
	for {
		next, err := s.in.Peek(1)
		switch {
		case errors.Is(err, io.EOF) && len(s.stack) == 0:
		case errors.Is(err, io.EOF):
			return errBroken // of a number, there may have been more
		case err != nil:
			return err
		case !bytes.ContainsAny(next, ",]} \t\r\n"):
			if len(s.token) == maxToken {
				return errBroken
			}
			s.token = append(s.token, next[0])
			_, _ = s.in.Discard(1)
			continue
		}
		if !json.Valid(s.token) {
			return errBroken
		}
		return nil
	}
}

// rest reads what comes after the value: there should be nothing. A second
// value would be a second webhook, and Spillway does not guess which of them
// counts.
func (s *scanner) rest() error {
	c, err := s.sign()
	switch {
	case errors.Is(err, errBroken):
		return nil // the end
	case err != nil:
		return err
	case c == '{' || c == '[':
		s.several = true
	}
	return errBroken
}
