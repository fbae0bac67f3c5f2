package ingest

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
)

// requestIDHeader carries the name of a webhook in and out.
const requestIDHeader = "X-Request-Id"

// longestRequestID bounds what a caller may put into the logs and into Redis.
const longestRequestID = 64

// requestID returns the name by which a webhook is found in the logs, of ingest
// as of the worker that carries it out: the one that the caller or a proxy gave
// it, if that is of letters, digits, "-" and "_", or 64 random bits.
func requestID(r *http.Request) string {
	if given := r.Header.Get(requestIDHeader); sane(given) {
		return given
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func sane(id string) bool {
	if id == "" || len(id) > longestRequestID {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
