package assembly

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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
		var out strings.Builder
		require.Zero(t, health(role, nil, []string{name + "=" + addr}, &out))
		require.Zero(t, health(role, nil, []string{name + "=:" + port}, &out), "it listens on every address")
		file := filepath.Join(t.TempDir(), "addr")
		require.NoError(t, os.WriteFile(file, []byte(addr+"\n"), 0o600))
		require.Zero(t, health(role, nil, []string{name + "_FILE=" + file}, &out), "the address stands in a file")
		flag := "--" + strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "SPILLWAY_")), "_", "-") + "=" + addr
		require.Zero(t, health(role, []string{flag}, []string{name + "=127.0.0.1:1"}, &out), "the address was given as a flag")
		require.Empty(t, out.String())
		require.Equal(t, 1, health(role, nil, []string{name + "=127.0.0.1:1"}, &out))
		require.Contains(t, out.String(), name+" 127.0.0.1:1: ")
		require.Equal(t, 1, health(role, nil, []string{name + "=nonsense"}, &out))

		status = http.StatusInternalServerError
		require.Equal(t, 1, health(role, nil, []string{name + "=" + addr}, &out))
		require.Contains(t, out.String(), "/healthz answered status 500")
		status = http.StatusOK
	}
}
