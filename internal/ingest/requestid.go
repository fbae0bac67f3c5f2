package ingest

import (
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
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
	var random [8]byte
	binary.LittleEndian.PutUint64(random[:], rand.Uint64()) //nolint:gosec // a name, not a secret
	var text [11]byte
	base64.RawURLEncoding.Encode(text[:], random[:])
	return string(text[:])
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
