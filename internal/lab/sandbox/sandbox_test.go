package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sandbox"
)

const patience = 10 * time.Second

// served is a CRM or a site that listens, and a client with connections of its
// own.
type served struct {
	*testing.T
	url    string
	token  string // sent as a bearer, if not empty
	user   string // sent with pass, if not empty
	pass   string
	client *http.Client
}

// response is an answer that was read to its end.
type response struct {
	status int
	header http.Header
	body   string
}

func serve(t *testing.T, handler interface {
	http.Handler
	Close()
},
) *served {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Cleanup(handler.Close) // first: the server waits for answers that hang
	return &served{T: t, url: server.URL, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

func startCRM(t *testing.T, options sandbox.CRMOptions) (*sandbox.CRM, *served) {
	t.Helper()
	crm := sandbox.NewCRM(options)
	s := serve(t, crm)
	s.token = options.Token
	return crm, s
}

func startSite(t *testing.T, options sandbox.SiteOptions) (*sandbox.Site, *served) {
	t.Helper()
	site := sandbox.NewSite(options)
	s := serve(t, site)
	s.user, s.pass = site.Credentials()
	return site, s
}

// try makes a call; kind is the body's content type.
func (s *served) try(ctx context.Context, method, path, kind, body string) (response, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	if s.token != "" {
		request.Header.Set("Authorization", "Bearer "+s.token)
	}
	if s.user != "" {
		request.SetBasicAuth(s.user, s.pass)
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(answer.Body)
	return response{answer.StatusCode, answer.Header, string(content)}, err
}

func (s *served) call(method, path, kind, body string) response {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	answer, err := s.try(ctx, method, path, kind, body)
	require.NoError(s, err)
	return answer
}

func (s *served) get(path string) response {
	s.Helper()
	return s.call(http.MethodGet, path, "", "")
}

// form sends a form, whose fields are given in pairs.
func (s *served) form(method, path string, pairs ...string) response {
	s.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return s.call(method, path, "application/x-www-form-urlencoded", form.Encode())
}

func (s *served) json(method, path string, value any) response {
	s.Helper()
	body, err := json.Marshal(value)
	require.NoError(s, err)
	return s.call(method, path, "application/json", string(body))
}

// into decodes an answer that must be a success.
func (s *served) into(answer response, value any) {
	s.Helper()
	require.Equal(s, http.StatusOK, answer.status, answer.body)
	decoder := json.NewDecoder(bytes.NewReader([]byte(answer.body)))
	decoder.UseNumber()
	require.NoError(s, decoder.Decode(value), answer.body)
}

// object decodes an answer that must be a success and an object.
func (s *served) object(answer response) map[string]any {
	s.Helper()
	var object map[string]any
	s.into(answer, &object)
	return object
}
