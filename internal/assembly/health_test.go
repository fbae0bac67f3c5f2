package assembly

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/config"
)

func TestHealthAsksTheProgramsOwnAddress(t *testing.T) {
	t.Parallel()
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	_, port, _ := strings.Cut(addr, ":")
	for role, name := range map[config.Role]string{config.Ingest: "SPILLWAY_ADMIN_ADDR", config.Worker: "SPILLWAY_WORKER_ADDR"} {
		environment := func(value string) func(string) string {
			return func(asked string) string {
				if asked == name {
					return value
				}
				return ""
			}
		}
		var out strings.Builder
		require.Zero(t, health(role, environment(addr), &out))
		require.Zero(t, health(role, environment(":"+port), &out), "it listens on every address")
		require.Empty(t, out.String())
		require.Equal(t, 1, health(role, environment("127.0.0.1:1"), &out))
		require.Contains(t, out.String(), name+" 127.0.0.1:1: ")
		require.Equal(t, 1, health(role, environment("nonsense"), &out))

		status = http.StatusInternalServerError
		require.Equal(t, 1, health(role, environment(addr), &out))
		require.Contains(t, out.String(), "/healthz answered status 500")
		status = http.StatusOK
	}
}
