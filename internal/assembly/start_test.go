package assembly

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/assembly/metrics"
	"spillway/internal/config"
	"spillway/internal/lab/redistest"
	"spillway/internal/observe"
	"spillway/internal/sites"
)

// BenchmarkStartOfAThousandSites is what a worker does before it takes its first
// contact: it reads and checks all files, builds what passes need, and looks into
// Redis. It should take less than five seconds.
func BenchmarkStartOfAThousandSites(b *testing.B) {
	folder := b.TempDir()
	for i := range 1000 {
		text := fmt.Sprintf("SPILLWAY_ACCESS_KEYS=access-key-%d\nSPILLWAY_CRM_URL=https://app.%d.example\nSPILLWAY_CRM_TOKEN=t\n"+
			"SPILLWAY_SITE_URL=https://www.%d.example\nSPILLWAY_SITE_USER=u\nSPILLWAY_SITE_APP_PASSWORD=p\n", i, i, i)
		require.NoError(b, os.WriteFile(filepath.Join(folder, fmt.Sprintf("site-%d.env", i)), []byte(text), 0o600))
	}
	server := redistest.Start(b)
	settings, err := config.Load(config.Worker, nil, []string{"SPILLWAY_REDIS_URL=" + server.URL(), "SPILLWAY_SITES=" + folder})
	require.NoError(b, err)
	for b.Loop() {
		registry := observe.NewRegistry()
		all, err := sites.Read(settings, config.Worker)
		require.NoError(b, err)
		served := &workSites{
			rdb: server.Client(), log: zerolog.Nop(), crmCalls: metrics.CRMCalls(registry), siteCalls: metrics.SiteRequests(registry),
		}
		_, _, err = served.set(b.Context(), all)
		require.NoError(b, err)
		checked, err := adopt(b.Context(), served.contacts(), zerolog.Nop())
		require.NoError(b, err)
		require.True(b, checked)
		require.NoError(b, served.close(b.Context()))
	}
}
