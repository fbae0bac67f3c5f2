package localrun_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/logtest"
	"spillway/internal/operate/localrun"
)

//nolint:paralleltest // it sets the environment
func TestTracesGoWhereTheEnvFileSays(t *testing.T) {
	var spans atomic.Int64
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/traces" {
			spans.Add(1)
		}
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "") // restored at the end
	envFile := filepath.Join(t.TempDir(), ".env")
	require.NoError(t, os.WriteFile(envFile, []byte("OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL+"\n"), 0o600))
	environ, _ := addresses(t)
	out := &logtest.Log{}
	require.NoError(t, localrun.Run(t.Context(), localrun.Options{
		Environ: append(environ, "SPILLWAY_REDIS_URL=embedded"), EnvFile: envFile, EnvFileAsked: true,
		Folder: t.TempDir(), Webhooks: 5, Contacts: 2, Exit: true, Out: out,
	}), "%s", out)
	require.Positive(t, spans.Load())
}
