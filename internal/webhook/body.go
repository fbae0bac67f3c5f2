package webhook

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

const (
	// MaxBody is the most of a body that is read, in bytes, as it is sent and
	// as it is unpacked.
	MaxBody = 1 << 20
	// smallForm is the largest form that is read although nothing of it is
	// needed, in bytes.
	smallForm = 4 << 10
	// window is how much of a body is held at a time.
	window = 4 << 10
)

// body is what a body says.
type body struct {
	form params
	// foreign says that the form has names that are no parameters.
	foreign bool
	id      param // of a JSON object
	fault   *fault
}

// fault is why a body may hold more than was found in it.
type fault struct {
	status  int
	code    string
	because string
}

var (
	errTooLarge = &fault{http.StatusRequestEntityTooLarge, "body_too_large", "is larger than 1 MiB, of which no more is read."}
	errPacked   = &fault{
		http.StatusUnsupportedMediaType, "unsupported_media_type",
		"has a Content-Encoding that is not read: send it as it is, or with gzip.",
	}
	errUnknown = &fault{
		http.StatusUnsupportedMediaType, "unsupported_media_type",
		"is neither a form nor JSON: send application/x-www-form-urlencoded, multipart/form-data or application/json.",
	}
	errBroken = &fault{http.StatusBadRequest, "invalid_body", "broke off or is not what its Content-Type says."}
)

// isSmallForm tells whether a request says that its body is a form of a few
// parameters. A chunked one may be: how long it is, its sender does not say.
func isSmallForm(r *http.Request) bool {
	if r.ContentLength == 0 || r.ContentLength > smallForm {
		return false
	}
	kind := strings.ToLower(r.Header.Get("Content-Type"))
	if end := strings.IndexAny(kind, ";, "); end >= 0 {
		kind = kind[:end]
	}
	return kind == "application/x-www-form-urlencoded" || kind == "multipart/form-data"
}

// readBody reads a body as what it looks like, whatever it calls itself: WP
// Fusion looks into any body, so a CRM may send a wrong type and nobody has
// noticed. The type counts only for a body that looks like neither.
func readBody(r *http.Request) (b body) {
	if r.Body == nil || r.Body == http.NoBody {
		return b
	}
	coding := trim(r.Header.Get("Content-Encoding"))
	size := window
	if 0 < r.ContentLength && r.ContentLength < window {
		size = int(r.ContentLength) + 1 // room to see the end
	}
	in, err := unpack(newWindow(r.Body, size), coding)
	if err != nil {
		b.fault = faultOf(err)
		return b
	}
	in = plainText(in)
	if _, err := in.Peek(1); err != nil { // nothing but blanks
		b.fault = faultOf(err)
		return b
	}
	err = b.readAs(in, r.Header.Get("Content-Type"))
	b.fault = faultOf(err)
	if (b.fault == errUnknown || b.fault == errBroken) && isPacked(coding) {
		b.fault = errPacked
	}
	return b
}

// isPacked tells whether a coding is one that is not undone here.
func isPacked(coding string) bool {
	coding = strings.ToLower(coding)
	return strings.Contains(coding, "br") || strings.Contains(coding, "zstd") || strings.Contains(coding, "compress")
}

// faultOf tells what an error of reading a body means for its sender.
func faultOf(err error) *fault {
	var found *fault
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &found):
		return found
	default:
		return errBroken
	}
}

func (f *fault) Error() string { return "the body " + f.because }

// newWindow returns a reader of at most MaxBody bytes, which holds size of them.
func newWindow(in io.Reader, size int) *bufio.Reader {
	return bufio.NewReaderSize(&bounded{in: in, left: MaxBody}, size)
}

// bounded reads a number of bytes and fails with errTooLarge if there are more.
// It keeps its error.
type bounded struct {
	in   io.Reader
	left int
	err  error
}

func (b *bounded) Read(p []byte) (n int, err error) {
	switch {
	case b.err != nil || len(p) == 0:
		return 0, b.err
	case b.left > 0:
		n, b.err = b.in.Read(p[:min(len(p), b.left)])
		b.left -= n
	default:
		if n, b.err = io.ReadFull(b.in, p[:1]); n > 0 {
			n, b.err = 0, errTooLarge
		}
	}
	return n, b.err
}

// unpack undoes gzip, whether or not the sender names it, and deflate in both
// its forms. Any other coding is taken for what senders write that have none,
// such as "utf-8".
func unpack(in *bufio.Reader, coding string) (*bufio.Reader, error) {
	head, _ := in.Peek(2)
	if len(head) < 2 {
		return in, nil
	}
	switch {
	case head[0] == 0x1f && head[1] == 0x8b:
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		return newWindow(unzipped, window), nil
	case !strings.EqualFold(coding, "deflate"):
		return in, nil
	case head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0:
		unzipped, err := zlib.NewReader(in)
		if err != nil {
			return nil, err
		}
		return newWindow(unzipped, window), nil
	case bytes.ContainsAny(head[:1], "{[ \r\n\t") || isPlain(head[0]) && isPlain(head[1]):
		return in, nil
	default:
		return newWindow(flate.NewReader(in), window), nil
	}
}

// plainText takes off what comes before a body's first sign: byte order marks
// and blanks. UTF-16 becomes UTF-8, with and without a mark: what begins with a
// sign of ASCII has a zero in its first or second byte.
func plainText(in *bufio.Reader) *bufio.Reader {
	head, _ := in.Peek(2)
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")), len(head) > 1 && head[0] != 0 && head[1] == 0:
		in = fromUTF16(in, unicode.LittleEndian)
	case bytes.HasPrefix(head, []byte("\xfe\xff")), len(head) > 1 && head[0] == 0 && head[1] != 0:
		in = fromUTF16(in, unicode.BigEndian)
	}
	for {
		next, _ := in.Peek(len(mark))
		switch {
		case string(next) == mark:
			_, _ = in.Discard(len(mark))
		case len(next) > 0 && isBlank(rune(next[0]), next[0]):
			_, _ = in.Discard(1)
		default:
			return in
		}
	}
}

// mark is the byte order mark of UTF-8. Some senders write two.
const mark = "\xef\xbb\xbf"

func fromUTF16(in io.Reader, order unicode.Endianness) *bufio.Reader {
	return bufio.NewReaderSize(transform.NewReader(in, unicode.UTF16(order, unicode.UseBOM).NewDecoder()), window)
}

// readAs reads a body that is not empty. Its error is a [*fault], or that of
// reading.
func (b *body) readAs(in *bufio.Reader, stated string) error {
	// A malformed parameter, such as an empty charset, does not blur the type.
	kind, parameters, _ := mime.ParseMediaType(stated)
	head, err := in.Peek(in.Size())
	isJSON := kind == "application/json" || strings.HasSuffix(kind, "+json")
	switch {
	case head[0] == '{' || head[0] == '[':
		b.id, err = readJSON(in)
		return err
	case bytes.HasPrefix(head, []byte("--")):
		return b.readMultipart(in, firstBoundary(head))
	case parameters["boundary"] != "" && bytes.Contains(head, []byte("--"+parameters["boundary"])):
		return b.readMultipart(in, parameters["boundary"]) // something stands before the first part
	case kind == "application/x-www-form-urlencoded" || looksLikeForm(head):
		return b.readForm(in)
	case isJSON && errors.Is(err, io.EOF) && json.Valid(head):
		return nil // a bare value has no members
	case isJSON || kind == "multipart/form-data":
		return errBroken
	default:
		return errUnknown
	}
}
