package observe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/observe"
)

func get(h http.Handler, path string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func ok(context.Context) error { return nil }

func TestLogLinesHaveTheTimeInUTC(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := observe.NewLogger(zerolog.InfoLevel, "json", &out)
	log.Debug().Msg("hidden")
	log.Info().Str("contact", "1").Msg("synced")

	var line struct{ Level, Time, Message, Contact string }
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.Equal(t, "info", line.Level)
	require.Equal(t, "synced", line.Message)
	require.Equal(t, "1", line.Contact)
	require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`, line.Time)
}

func TestConsoleLinesHaveNoColoursAwayFromATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := observe.NewLogger(zerolog.InfoLevel, "console", &out)
	log.Info().Str("contact", "1").Msg("synced")
	require.Regexp(t, `^\d\d:\d\d:\d\d\.\d{3} INF synced contact=1\n$`, out.String())
}

func TestMetricsNameTheBuild(t *testing.T) {
	t.Parallel()
	status, body := get(observe.Handler(observe.NewRegistry()), "/metrics")
	require.Equal(t, http.StatusOK, status)
	require.Regexp(t, `spillway_build_info\{goversion="go[^"]+",version="[^"]+"\} 1`, body)
	require.Contains(t, body, "go_goroutines")
	require.Contains(t, body, "process_start_time_seconds")
}

func TestReadinessNamesWhatIsWrongAndHealthStaysGood(t *testing.T) {
	t.Parallel()
	h := observe.Handler(observe.NewRegistry(),
		observe.Check{Name: "good", Run: ok},
		observe.Check{Name: "known", Run: func(context.Context) error { return observe.Unready("has a cold") }},
		observe.Check{Name: "secretive", Run: func(context.Context) error {
			return errors.New("Get https://user:s3cret@x: refused")
		}},
	)
	status, body := get(h, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.JSONEq(t, `{"status":"unready","checks":{"known":"has a cold","secretive":"unavailable"}}`, body)

	status, body = get(h, "/healthz")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"status":"ok"}`, body)

	status, body = get(observe.Handler(observe.NewRegistry(), observe.Check{Name: "good", Run: ok}), "/readyz")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"status":"ready"}`, body)
}

func TestChecksRunSideBySideAndNeverHoldTheAnswerUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		runs := 0
		slow := func(context.Context) error {
			select {
			case <-time.After(1500 * time.Millisecond):
			case <-release:
			}
			return nil
		}
		h := observe.Handler(observe.NewRegistry(),
			observe.Check{Name: "slow", Run: slow}, observe.Check{Name: "slow too", Run: slow},
			observe.Check{Name: "deaf", Run: func(context.Context) error { runs++; <-release; return nil }},
		)
		begin := time.Now()
		status, body := get(h, "/readyz")
		require.Equal(t, 2*time.Second, time.Since(begin))
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.JSONEq(t, `{"status":"unready","checks":{"deaf":"no answer within 2 seconds"}}`, body)

		get(h, "/readyz")
		close(release)
		synctest.Wait()
		require.Equal(t, 1, runs, "the deaf check ran again beside itself")
	})
}
