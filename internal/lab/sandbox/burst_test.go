package sandbox_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/sandbox"
	"spillway/internal/webhook"
)

const burstKey = "burst-key-123"

func listenFor(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// net/http notices that a caller is gone once the body has been read.
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestBurstSendsWhatTheCRMSends(t *testing.T) {
	t.Parallel()
	keys, err := webhook.NewKeyring(map[string][]string{contact.DefaultSite: {burstKey}})
	require.NoError(t, err)
	var mu sync.Mutex
	ids, actions, shapes := map[string]int{}, map[contact.Action]int{}, map[string]int{}
	url := listenFor(t, func(w http.ResponseWriter, r *http.Request) {
		kind := r.Header.Get("Content-Type")
		hook, err := webhook.Parse(r, keys)
		if err != nil || !hook.HasWait || hook.Wait > 0 { // an add would wait for its user
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		ids[hook.ID]++
		actions[hook.Intent.Action]++
		shapes[r.Method+" "+kind]++
		mu.Unlock()
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, `{"status":"queued","coalesced":`+strconv.FormatBool(hook.ID == "5")+`}`)
	})
	var last [2]int
	result, err := sandbox.Burst(t.Context(), sandbox.BurstOptions{
		URL: url, Key: burstKey, Webhooks: 300, Contacts: 50, Connections: 8,
		Progress: func(sent, accepted int) { last = [2]int{sent, accepted} },
	})
	require.NoError(t, err)
	require.Equal(t, 300, result.Accepted, result.Problem)
	require.Equal(t, 6, result.Coalesced)
	require.Zero(t, result.Refused+result.Failed)
	require.Empty(t, result.Problem)
	require.Equal(t, [2]int{300, 300}, last)
	require.Positive(t, result.PerSecond)
	require.Positive(t, result.P50)
	require.LessOrEqual(t, result.P50, result.P99)
	require.LessOrEqual(t, result.P99, result.Max)
	require.LessOrEqual(t, result.Max, result.Took)

	require.Len(t, ids, 50)
	for id, times := range ids {
		require.Equal(t, 6, times, "contact %s", id)
	}
	require.Greater(t, actions[contact.Update], actions[contact.UpdateTags])
	require.Greater(t, actions[contact.UpdateTags], actions[contact.Add])
	require.Positive(t, actions[contact.Add])
	require.Len(t, shapes, 4)
}

func TestBurstSendsTheActionsAskedFor(t *testing.T) {
	t.Parallel()
	var others atomic.Int64
	url := listenFor(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("wpf_action") != "add" {
			others.Add(1)
		}
		w.WriteHeader(http.StatusOK)
	})
	result, err := sandbox.Burst(t.Context(), sandbox.BurstOptions{URL: url, Webhooks: 40, Actions: map[contact.Action]int{contact.Add: 1}})
	require.NoError(t, err)
	require.Equal(t, 40, result.Accepted)
	require.Zero(t, others.Load())
}

func TestBurstTellsRefusedFromFailed(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	url := listenFor(t, func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 4 {
		case 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 1:
			<-r.Context().Done() // the CRM gives up
		case 2:
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		default:
			w.WriteHeader(http.StatusOK)
		}
	})
	result, err := sandbox.Burst(t.Context(), sandbox.BurstOptions{
		URL: url, Key: burstKey, Webhooks: 16, Connections: 16, Timeout: 300 * time.Millisecond,
	})
	require.NoError(t, err)
	require.Equal(t, 4, result.Accepted)
	require.Equal(t, 8, result.Refused)
	require.Equal(t, 4, result.Failed)
	require.NotEmpty(t, result.Problem)
}

func TestBurstShowsNoKeyInItsProblem(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	result, err := sandbox.Burst(t.Context(), sandbox.BurstOptions{URL: server.URL + "/?site=1", Key: burstKey, Webhooks: 4})
	require.NoError(t, err)
	require.Equal(t, 4, result.Failed)
	require.Contains(t, result.Problem, "connection refused")
	require.NotContains(t, result.Problem, burstKey)
}

func TestBurstEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var answered atomic.Int64
	url := listenFor(t, func(w http.ResponseWriter, r *http.Request) {
		if answered.Add(1) > 20 {
			cancel()
			<-r.Context().Done()
			return
		}
		w.WriteHeader(http.StatusOK)
	})
	result, err := sandbox.Burst(ctx, sandbox.BurstOptions{URL: url, Webhooks: 1_000_000, Connections: 4})
	require.ErrorIs(t, err, context.Canceled)
	require.LessOrEqual(t, result.Accepted, 20)
	require.Zero(t, result.Failed, "what was cut off has not failed")
}

func TestWrongBurstsAreRefused(t *testing.T) {
	t.Parallel()
	for _, options := range []sandbox.BurstOptions{
		{URL: "", Webhooks: 1},
		{URL: "ftp://127.0.0.1/", Webhooks: 1},
		{URL: "http://127.0.0.1:1/", Webhooks: -1},
		{URL: "http://127.0.0.1:1/", Webhooks: 1, Actions: map[contact.Action]int{}},
		{URL: "http://127.0.0.1:1/", Webhooks: 1, Actions: map[contact.Action]int{contact.Add: -1}},
	} {
		_, err := sandbox.Burst(t.Context(), options)
		require.Error(t, err, "%+v", options)
	}
}
