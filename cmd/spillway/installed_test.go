package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/config"
	"spillway/internal/lab/redistest"
)

// installedIn writes an installation's folder as the Debian package has it.
func installedIn(t *testing.T, env string, secrets map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(folder, "secrets"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "env"), []byte(env), 0o600))
	for name, value := range secrets {
		require.NoError(t, os.WriteFile(filepath.Join(folder, "secrets", name), []byte(value), 0o600))
	}
	return folder
}

func TestCommandsFindTheServicesSettings(t *testing.T) {
	t.Parallel()
	folder := installedIn(t, "SPILLWAY_CRM_URL=https://app.example.com\nSPILLWAY_CRM_RATE=7\nSPILLWAY_LOG_LEVEL=warn\n", map[string]string{
		"crm_token": "from-file\n", "search_key": "", "site_app_password": "file", "notes": "no setting",
	})
	environ, err := withInstalled([]string{"SPILLWAY_CRM_RATE=9", "SPILLWAY_SITE_APP_PASSWORD=own"}, folder)
	require.NoError(t, err)
	settings, err := config.Load(config.Operator, nil, environ)
	require.NoError(t, err)
	require.Equal(t, "from-file", settings.CRM.Token)
	require.InDelta(t, 9, settings.CRM.Rate, 0, "the environment counts first")
	require.Equal(t, "own", settings.Site.AppPassword)
	require.Nil(t, settings.SearchKey, "its file is empty")

	same, err := withInstalled([]string{"A=b"}, t.TempDir())
	require.NoError(t, err)
	require.Equal(t, []string{"A=b"}, same, "nothing is installed there")
}

func TestWhoMayNotReadTheServicesSettingsIsToldHow(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	folder := installedIn(t, "", nil)
	require.NoError(t, os.Chmod(filepath.Join(folder, "env"), 0))
	_, err := withInstalled(nil, folder)
	require.ErrorContains(t, err, "group spillway")
}

func TestJournalsLieWithTheInstallationsData(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	require.NoError(t, os.Chmod(data, 0o770|os.ModeSetgid)) // as the package has it
	server := redistest.Start(t)
	folder := installedIn(t, "SPILLWAY_REDIS_URL="+server.URL()+"\n", nil)
	var out, errOut bytes.Buffer
	c := &console{out: &out, err: &errOut, installed: folder, data: data}
	list := filepath.Join(t.TempDir(), "list")
	require.NoError(t, os.WriteFile(list, []byte("5\n6\n"), 0o600))
	require.Equal(t, exitOK, execute(t.Context(), []string{"resync", "--file", list, "--no-wait"}, c), errOut.String())
	info, err := os.Stat(filepath.Join(data, "resync"))
	require.NoError(t, err)
	require.Equal(t, os.ModeDir|os.ModeSetgid|0o770, info.Mode(), "members of the group share them")
	require.Equal(t, filepath.Join("var", "resync"), (&console{data: filepath.Join(data, "none")}).journals("resync"))
}
