package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/config"
)

// What people read names every setting and none that does not exist.
func TestDocumentsNameTheSettingsThereAre(t *testing.T) {
	t.Parallel()
	for document, complete := range map[string]bool{
		"README.md": true, "deploy/env.example": true, "deploy/compose.yaml": false,
		"deploy/systemd/spillway-ingest.service": false, "deploy/systemd/spillway-worker@.service": false,
	} {
		text, err := os.ReadFile(filepath.Join("..", "..", document))
		require.NoError(t, err)
		var named []string
		for _, match := range regexp.MustCompile(`SPILLWAY_([A-Z]+_)*[A-Z]+`).FindAllString(string(text), -1) {
			named = append(named, regexp.MustCompile(`_FILE$`).ReplaceAllString(match, ""))
		}
		slices.Sort(named)
		named = slices.Compact(named)
		if complete {
			require.Equal(t, config.Names(), named, document)
		} else {
			require.Subset(t, config.Names(), named, document)
		}
	}
}

// What env.example suggests passes the checks once the secrets are filled in.
func TestTheExampleIsValid(t *testing.T) {
	t.Parallel()
	environ, err := config.WithEnvFile([]string{
		"SPILLWAY_ACCESS_KEYS=abcdefgh12", "SPILLWAY_CRM_TOKEN=token", "SPILLWAY_SITE_APP_PASSWORD=password",
	}, filepath.Join("..", "..", "deploy", "env.example"))
	require.NoError(t, err)
	_, err = config.Load(config.All, nil, environ)
	require.NoError(t, err)
}
