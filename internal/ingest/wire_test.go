package ingest_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
)

// kept collects the ids of what is submitted.
type kept struct {
	mu  sync.Mutex
	ids []string
}

func (k *kept) Submit(_ context.Context, ref contact.Ref, _ contact.Intent, _ contact.Receipt) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ids = append(k.ids, ref.ID)
	return false, nil
}

func (k *kept) take() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	ids := k.ids
	k.ids = nil
	return ids
}

// talk sends bytes over a connection of its own and returns the statuses of the
// answers, until the server closes or has no more to say.
func talk(t *testing.T, address, raw string) (statuses []int, text string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	go func() {
		_, _ = io.WriteString(conn, raw)
		// What was sent is all there is: a server that waits for more gives up.
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	}()
	var all strings.Builder
	reader := bufio.NewReader(io.TeeReader(conn, &all))
	for {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return statuses, all.String()
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		statuses = append(statuses, response.StatusCode)
	}
}

// Whatever a proxy and the server may read differently: there is one answer for
// each request that the server sees, and what hides in a body or behind one has
// no key but its own.
func TestAmbiguousRequestsAreRefusedOrHaveOneMeaning(t *testing.T) {
	t.Parallel()

	submitted := &kept{}
	address, _ := serve(t, setup(t, submitted).server)
	const (
		good   = "wpf_action=update&contact_id=5&access_key=" + key
		post   = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
		hidden = "GET /?wpf_action=update&contact_id=66 HTTP/1.1\r\nHost: x\r\n\r\n" // without a key
		chunk  = "3a\r\n" + good + "\r\n0\r\n"
	)
	require.Len(t, good, 0x3a)
	for name, c := range map[string]struct {
		raw      string
		statuses []int
		ids      []string
	}{
		"length and chunks: chunks count":     {post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + "\r\n" + hidden, []int{200, 403}, []string{"5"}},
		"chunks and length: chunks count":     {post + "Transfer-Encoding: chunked\r\nContent-Length: 500\r\n\r\n" + chunk + "\r\n" + hidden, []int{200, 403}, []string{"5"}},
		"two lengths":                         {post + "Content-Length: 58\r\nContent-Length: 4\r\n\r\n" + good + hidden, []int{400}, nil},
		"a list of lengths":                   {post + "Content-Length: 58, 4\r\n\r\n" + good + hidden, []int{400}, nil},
		"signed length":                       {post + "Content-Length: +58\r\n\r\n" + good + hidden, []int{400}, nil},
		"hexadecimal length":                  {post + "Content-Length: 0x3a\r\n\r\n" + good + hidden, []int{400}, nil},
		"length beyond any":                   {post + "Content-Length: 99999999999999999999\r\n\r\n" + good, []int{400}, nil},
		"space before the colon":              {post + "Content-Length : 58\r\n\r\n" + good + hidden, []int{400}, nil},
		"unknown coding":                      {post + "Transfer-Encoding: xchunked\r\n\r\n" + chunk + "\r\n" + hidden, []int{501}, nil},
		"two codings":                         {post + "Transfer-Encoding: chunked, identity\r\n\r\n" + chunk + "\r\n" + hidden, []int{501}, nil},
		"coding twice":                        {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + "\r\n" + hidden, []int{501}, nil},
		"vertical tab in the coding":          {post + "Transfer-Encoding: \x0bchunked\r\n\r\n" + chunk + "\r\n" + hidden, []int{400}, nil},
		"chunk size beyond any":               {post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + good, []int{403}, nil},
		"chunk size of no number":             {post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n" + good, []int{403}, nil},
		"key in a trailer":                    {post + "Transfer-Encoding: chunked\r\nTrailer: X-Access-Key\r\n\r\n1e\r\nwpf_action=update&contact_id=5\r\n0\r\nX-Access-Key: " + key + "\r\n\r\n", []int{403}, nil},
		"trailer beside the key":              {post + "Transfer-Encoding: chunked\r\n\r\n" + chunk + "X-A: b\r\n\r\n", []int{200}, []string{"5"}},
		"folded header: one value":            {"GET /?wpf_action=update&contact_id=5 HTTP/1.1\r\nHost: x\r\nX-A: b\r\n X-Access-Key: " + key + "\r\n\r\n", []int{403}, nil},
		"line feeds alone":                    {"GET /?" + good + " HTTP/1.1\nHost: x\n\n", []int{200}, []string{"5"}},
		"carriage return in a value":          {"GET /?" + good + " HTTP/1.1\r\nHost: x\r\nX-A: b\rX-B: c\r\n\r\n", []int{400}, nil},
		"NUL in a value":                      {"GET /?" + good + " HTTP/1.1\r\nHost: x\r\nX-A: \x00\r\n\r\n", []int{400}, nil},
		"NUL in the address":                  {"GET /?" + good + "&x=\x00 HTTP/1.1\r\nHost: x\r\n\r\n", []int{400}, nil},
		"escaped NUL in an id":                {"GET /?" + good + "&contact_id=5%005 HTTP/1.1\r\nHost: x\r\n\r\n", []int{400}, nil},
		"no host":                             {"GET /?" + good + " HTTP/1.1\r\n\r\n", []int{400}, nil},
		"two hosts":                           {"GET /?" + good + " HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", []int{400}, nil},
		"absolute address":                    {"GET http://other.example/x?" + good + " HTTP/1.1\r\nHost: x\r\n\r\n", []int{200}, []string{"5"}},
		"pipelined":                           {strings.Repeat("GET /?"+good+" HTTP/1.1\r\nHost: x\r\n\r\n", 3) + hidden, []int{200, 200, 200, 403}, []string{"5", "5", "5"}},
		"body of a GET is no further request": {"GET /?" + good + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(hidden)) + "\r\n\r\n" + hidden, []int{200}, []string{"5"}},
		"1 MB of address":                     {"GET /?" + good + "&x=" + strings.Repeat("y", 1<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n", []int{431}, nil},
		"1 MB of headers":                     {"GET /?" + good + " HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 1<<17) + "\r\n", []int{431}, nil},
		"1 MB body":                           {post + "Content-Length: 1048576\r\n\r\n" + good + strings.Repeat("y", 1<<20-0x3a), []int{403}, nil}, // of the key
		"a body that breaks off":              {post + "Content-Length: 60000\r\n\r\n" + good, []int{403}, nil},                                     // within the key
		"a body that is not needed":           {"POST /?" + good + " HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" + good, []int{200}, []string{"5"}},
		"HTTP/2 without TLS":                  {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{403}, nil},
		"HTTP of the future":                  {"GET /?" + good + " HTTP/3.0\r\nHost: x\r\n\r\n", []int{505}, nil},
		"no HTTP at all":                      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", []int{400}, nil},
	} {
		statuses, text := talk(t, address, c.raw)
		require.Equal(t, c.statuses, statuses, "%s: %s", name, text)
		require.Equal(t, c.ids, submitted.take(), name)
		require.NotContains(t, text, key, name)
	}
	statuses, _ := talk(t, address, "GET /?"+good+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	require.Equal(t, []int{200}, statuses, "the server is well after all of this")
}

// What is repeated in an answer cannot end a header or begin another answer.
func TestNothingThatIsSentSplitsTheAnswer(t *testing.T) {
	t.Parallel()

	address, _ := serve(t, setup(t, submit(accept)).server)
	const injected = "%0d%0aX-Injected:%201%0d%0a%0d%0aHTTP/1.1%20200%20OK%0d%0a%0d%0a"
	for _, target := range []string{
		"/?access_key=" + key + "&wpf_action=update&contact_id=5" + injected,
		"/?access_key=" + key + "&wpf_action=update" + injected + "&contact_id=5",
		"/?access_key=" + key + "&wpf_action=add&contact_id=5&role=customer" + injected,
		"/?access_key=" + key + "&wpf_action=add&contact_id=5&send_notification=" + injected,
		"/" + injected + "?access_key=" + key + "&wpf_action=update&contact_id=5",
		"/?access_key=" + key + injected + "&wpf_action=update&contact_id=5",
		"/healthz" + injected,
	} {
		for _, accepted := range []string{"*/*", "text/html"} {
			statuses, text := talk(t, address, "GET "+target+" HTTP/1.1\r\nHost: x\r\nAccept: "+accepted+"\r\n\r\n")
			require.Len(t, statuses, 1, target)
			require.NotContains(t, text, "X-Injected", target)
			require.Equal(t, 1, strings.Count(text, "HTTP/1.1"), target)
		}
	}
}
