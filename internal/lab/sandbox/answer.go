package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// maxBody bounds what is read of a request.
const maxBody = 16 << 20

// answer is what a route answers. Routes return it instead of writing it, so
// that a fault can take its place, or spoil it.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// reply makes an answer in JSON.
func reply(status int, value any) answer {
	body, err := json.Marshal(value)
	if err != nil {
		return answer{status: http.StatusInternalServerError, body: []byte(`{"error":"the answer could not be encoded"}`)}
	}
	return answer{status: status, header: http.Header{"Content-Type": {"application/json; charset=UTF-8"}}, body: body}
}

// problem is the error of a control route.
func problem(status int, format string, values ...any) answer {
	return reply(status, map[string]string{"error": fmt.Sprintf(format, values...)})
}

func page(status int, html string) answer {
	return answer{status: status, header: http.Header{"Content-Type": {"text/html; charset=UTF-8"}}, body: []byte(html)}
}

// with returns the answer with a header more.
func (a answer) with(name, value string) answer {
	header := a.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set(name, value)
	a.header = header
	return a
}

// write sends the answer with its length, of which upTo bytes are sent.
func (a answer) write(w http.ResponseWriter, upTo int) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body[:upTo]) // the caller may be gone
}

// control serves a route below /control/, to this machine alone.
func control(route func(r *http.Request, body []byte) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var a answer
		if body, err := readBody(w, r); err != nil {
			a = problem(http.StatusRequestEntityTooLarge, "the body could not be read, or is longer than %d bytes", maxBody)
		} else if !fromHere(r) {
			a = problem(http.StatusForbidden, "/control/ answers this machine alone")
		} else {
			a = route(r, body)
		}
		a.write(w, len(a.body))
	}
}

func fromHere(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	return err == nil && net.ParseIP(host).IsLoopback()
}

// decodeControl reads the JSON of a control route; an empty body leaves value
// as it is.
func decodeControl(body []byte, value any) error {
	if len(body) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, value); err != nil {
		return fmt.Errorf("reading the body as JSON: %w", err)
	}
	return nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	return io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
}

// seconds is how control routes write durations.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
