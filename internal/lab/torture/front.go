package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// call is one request about one contact that reached the CRM or the site. A
// batch is a call for each of its contacts.
type call struct {
	by      string // the worker's life
	contact string
	step    step
	still   time.Duration // how long the worker stood still in this life
	claimed time.Time     // when its pass was, as a store says; zero: it does not say
}

// step is what a call does for its contact.
type step string

const (
	readContact step = "read contact"
	readTags    step = "read tags"
	storing     step = "store"   // the site: add, update, update_tags
	confirming  step = "confirm" // the site
	returning   step = "return"  // the CRM: password, login, user id
)

// observer is told of every call before the stand-in sees it and after the
// stand-in has acted on it, but before the caller has the answer. It may block.
type observer interface {
	arrived(ctx context.Context, calls []call)
	acted(ctx context.Context, calls []call, answer []byte)
}

// front is one worker's own door to a stand-in: who calls through it is known.
type front struct {
	worker   *process
	inside   http.Handler
	observer observer
	server   *http.Server
	addr     string
}

func openFront(worker *process, inside http.Handler, observer observer) (*front, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &front{worker: worker, inside: inside, observer: observer, addr: listener.Addr().String()}
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet()}
	go func() { _ = f.server.Serve(listener) }()
	return f, nil
}

func (f *front) close() { _ = f.server.Close() }

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // cut off before it was whole
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	calls := f.calls(r, body)
	if len(calls) == 0 {
		f.inside.ServeHTTP(w, r)
		return
	}
	f.observer.arrived(r.Context(), calls)
	held := &held{ResponseWriter: w, status: http.StatusOK}
	defer func() {
		// A fault ends the connection by a panic, after it has acted.
		reason := recover()
		f.observer.acted(r.Context(), calls, held.body.Bytes())
		held.release()
		if err, ok := reason.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(http.ErrAbortHandler)
		}
	}()
	f.inside.ServeHTTP(held, r)
}

// calls reads which contacts a request is about.
func (f *front) calls(r *http.Request, body []byte) []call {
	by, still := f.worker.life(), f.worker.stoodStill()
	path := r.URL.Path
	if rest, ok := strings.CutPrefix(path, "/api/v1/contacts/"); ok {
		id, list, _ := strings.Cut(rest, "/")
		switch {
		case r.Method == http.MethodPut:
			return []call{{by: by, contact: id, step: returning, still: still}}
		case list == "tags":
			return []call{{by: by, contact: id, step: readTags, still: still}}
		case list == "":
			return []call{{by: by, contact: id, step: readContact, still: still}}
		}
		return nil
	}
	if !strings.HasSuffix(path, "/spillway/v1/contacts") {
		return nil
	}
	var batch struct {
		Contacts []struct {
			ContactID string `json:"contact_id"`
			Action    string `json:"action"`
			AsOf      int64  `json:"as_of"`
		} `json:"contacts"`
	}
	if json.Unmarshal(body, &batch) != nil {
		return nil
	}
	calls := make([]call, len(batch.Contacts))
	for i, c := range batch.Contacts {
		calls[i] = call{by: by, contact: c.ContactID, step: storing, still: still}
		if c.AsOf > 0 {
			calls[i].claimed = time.UnixMicro(c.AsOf)
		}
		if c.Action == "confirm" {
			calls[i].step = confirming
		}
	}
	return calls
}

// held keeps an answer back until the observer has seen it.
type held struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
	begun  bool
}

func (h *held) WriteHeader(status int) { h.status, h.begun = status, true }

func (h *held) Write(p []byte) (int, error) {
	h.begun = true
	return h.body.Write(p)
}

// Flush does nothing: a stand-in flushes half an answer before it ends the
// connection, and release does the same.
func (h *held) Flush() {}

func (h *held) release() {
	if !h.begun {
		return
	}
	h.ResponseWriter.WriteHeader(h.status)
	_, _ = h.ResponseWriter.Write(h.body.Bytes())
	_ = http.NewResponseController(h.ResponseWriter).Flush()
}
