package bench

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// receiver counts the contacts of the webhooks that it gets.
type receiver struct {
	mu     sync.Mutex
	counts map[string]int
	status int
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	query := request.URL.Query()
	if query.Get("access_key") == accessKey && query.Get("wpf_action") == "update" {
		r.counts[query.Get("contact_id")]++
	}
	w.WriteHeader(r.status)
	_, _ = w.Write([]byte("an answer"))
}

func generateAt(t *testing.T, r *receiver, l load) loaded {
	t.Helper()
	r.counts = map[string]int{}
	server := httptest.NewServer(r)
	defer server.Close()
	l.Addr = strings.TrimPrefix(server.URL, "http://")
	input, err := json.Marshal(l)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, generate(t.Context(), bytes.NewReader(input), &out))
	var seen loaded
	require.NoError(t, json.Unmarshal(out.Bytes(), &seen))
	return seen
}

func TestGeneratorSendsEveryContactOfItsLoad(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		load  load
		count map[string]int
	}{
		"each once":     {load{Connections: 3, Duration: time.Minute, First: 7, Count: 4}, map[string]int{"7": 1, "8": 1, "9": 1, "10": 1}},
		"over and over": {load{Connections: 3, Duration: time.Minute, First: 7, Cycle: 2, Count: 6}, map[string]int{"7": 3, "8": 3}},
		"one at random": {load{Connections: 2, Duration: time.Minute, First: 7, Spread: 1, Count: 5}, map[string]int{"7": 5}},
		"at a rate":     {load{Connections: 2, Duration: time.Minute, Rate: 1000, First: 1, Count: 3}, map[string]int{"1": 1, "2": 1, "3": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &receiver{status: http.StatusOK}
			seen := generateAt(t, r, c.load)
			require.Equal(t, c.count, r.counts)
			require.Equal(t, c.load.Count, seen.Accepted)
			require.Zero(t, seen.Refused, seen.Problem)
			require.Positive(t, seen.P50)
			require.GreaterOrEqual(t, seen.Max, seen.P99)
		})
	}
}

func TestGeneratorEndsWithItsDuration(t *testing.T) {
	t.Parallel()
	r := &receiver{status: http.StatusOK}
	seen := generateAt(t, r, load{Connections: 2, Duration: 50 * time.Millisecond, First: 1})
	require.Positive(t, seen.Accepted)
	require.Len(t, r.counts, int(seen.Accepted), "unique contacts")
}

func TestGeneratorSaysWhatWasRefused(t *testing.T) {
	t.Parallel()
	r := &receiver{status: http.StatusServiceUnavailable}
	seen := generateAt(t, r, load{Connections: 1, Duration: time.Minute, First: 1, Count: 2})
	require.Zero(t, seen.Accepted)
	require.EqualValues(t, 2, seen.Refused)
	require.Contains(t, seen.Problem, strconv.Itoa(http.StatusServiceUnavailable))
}

func TestQuantileAndMedian(t *testing.T) {
	t.Parallel()
	require.Zero(t, quantile([]float64{}, 0.99))
	require.InDelta(t, 99.0, quantile([]float64{1, 99}, 0.99), 0)
	require.InDelta(t, 1.0, quantile([]float64{1}, 1), 0)
	require.InDelta(t, 2.0, median([]float64{3, 1, 2}), 0)
	require.InDelta(t, 2.5, median([]float64{4, 3, 1, 2}), 0)
}
