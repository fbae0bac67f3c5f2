package webhook

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"strings"
)

// looksLikeForm tells whether a text begins with a parameter's name.
func looksLikeForm(head []byte) bool {
	end := bytes.IndexAny(head, "=&")
	return end > 0 && isName(strings.TrimPrefix(string(head[:end]), "?"))
}

// readForm reads a urlencoded form, pair by pair. A pair that is longer than any
// parameter has no value. Of one that breaks off or is
// too large, the pairs before the fault count, but not the one that it is in.
func (b *body) readForm(in *bufio.Reader) error {
	for {
		pair, err := in.ReadSlice('&')
		switch {
		case err == nil:
			b.readPair(pair[:len(pair)-1])
		case errors.Is(err, io.EOF):
			b.readPair(pair)
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
			name, _, _ := strings.Cut(string(pair), "=")
			b.foreign = !b.form.setList(unescape(name)) || b.foreign
			if err := skipPair(in); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

func skipPair(in *bufio.Reader) error {
	for {
		switch _, err := in.ReadSlice('&'); {
		case err == nil || errors.Is(err, io.EOF):
			return nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

func (b *body) readPair(pair []byte) {
	b.foreign = !b.form.readPair(strings.TrimPrefix(string(pair), "?")) || b.foreign
}

// firstBoundary is what a form that begins with its first boundary is divided
// by, whatever its type says.
func firstBoundary(head []byte) string {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	return string(bytes.TrimRight(bytes.TrimPrefix(line, []byte("--")), " \t\r"))
}

// maxPartHeader is the longest header of a part that is read, in bytes.
const maxPartHeader = 4 * window

// readMultipart reads the parts that are no files. Those before a fault count.
func (b *body) readMultipart(in *bufio.Reader, boundary string) error {
	if boundary == "" || len(boundary) > window/2 {
		return errBroken
	}
	source := &bounded{in: in}
	reader := multipart.NewReader(source, boundary)
	for {
		source.left = maxPartHeader
		part, err := reader.NextPart()
		longHeader := source.left == 0
		source.left = MaxBody
		switch {
		case err == io.EOF: // wrapped, it came before the last boundary
			return nil
		case err != nil && !longHeader && errors.Is(source.err, errTooLarge):
			return errTooLarge
		case err != nil:
			return errBroken
		}
		if err := b.readPart(part); err != nil {
			return err
		}
	}
}

func (b *body) readPart(part *multipart.Part) error {
	name := strings.Trim(part.FormName(), "'") // PHP takes both kinds of quotes
	if name == "" || part.FileName() != "" {
		b.foreign = true
	} else {
		text, err := io.ReadAll(io.LimitReader(part, window))
		switch {
		case err != nil:
			return err
		case len(text) == window:
			b.foreign = !b.form.setList(name) || b.foreign
		default:
			b.foreign = !b.form.set(name, string(text)) || b.foreign
		}
	}
	_, err := io.Copy(io.Discard, part)
	return err
}
