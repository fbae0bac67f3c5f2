package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/config"
)

func TestFlagsComeBeforeTheEnvironment(t *testing.T) {
	t.Parallel()
	environ := complete("SPILLWAY_SITE_BATCH=wrong", "SPILLWAY_LOG_LEVEL=info")
	c, err := config.Load(config.All, []string{"--site-batch=7", "--log-level", "warn"}, environ)
	require.NoError(t, err)
	require.Equal(t, 7, c.Site.Batch)
	require.Equal(t, zerolog.WarnLevel, c.LogLevel)

	_, err = config.Load(config.All, []string{"--site-batch=0"}, complete())
	require.Equal(t, []string{`--site-batch "0": use a whole number from 1 to 100`}, problems(t, err))
}

func TestSecretsHaveNoFlag(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--crm-token=s3cret"}, {"--crm-token", "s3cret"}} {
		_, err := config.Load(config.All, args, complete())
		require.Equal(t, []string{"--crm-token: secrets have no flag, since other users of the machine could read them in ps: set SPILLWAY_CRM_TOKEN or SPILLWAY_CRM_TOKEN_FILE"}, problems(t, err))
	}
	_, err := config.Load(config.All, []string{"--redis-url=redis://:s3cret@127.0.0.1/0"}, complete())
	require.Equal(t, []string{"--redis-url: holds credentials, which other users of the machine could read in ps: set SPILLWAY_REDIS_URL or SPILLWAY_REDIS_URL_FILE"}, problems(t, err))
}

func TestUnknownFlagsAreRefusedAndHelpIsGiven(t *testing.T) {
	t.Parallel()
	_, err := config.Load(config.All, []string{"--site-bach=7"}, complete())
	require.Len(t, problems(t, err), 1)
	require.ErrorContains(t, err, "unknown flag --site-bach")

	_, err = config.Load(config.All, []string{"--help"}, nil)
	var usage *config.Usage
	require.ErrorAs(t, err, &usage)
	for _, name := range config.Names() {
		flag := "--" + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "SPILLWAY_"), "_", "-")) + "="
		require.True(t, strings.Contains(usage.Text, flag) || strings.Contains(usage.Text, name), name)
	}
}

func TestASettingMayStandInAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	c, err := config.Load(config.All, nil, complete(
		"SPILLWAY_CRM_TOKEN=", "SPILLWAY_CRM_TOKEN_FILE="+write("token", "from-file\n"),
		"SPILLWAY_SITE_BATCH_FILE="+write("batch", "9\r\n"),
		"SPILLWAY_ACCESS_KEYS=", "SPILLWAY_ACCESS_KEYS_FILE="+write("keys", "\ufeffabcdefgh13\r\n"),
		"SPILLWAY_SITE_APP_PASSWORD=", "SPILLWAY_SITE_APP_PASSWORD_FILE="+pipe(t, "piped\n"),
		"SPILLWAY_LOG_FORMAT_FILE=",
	))
	require.NoError(t, err)
	require.Equal(t, "from-file", c.CRM.Token)
	require.Equal(t, 9, c.Site.Batch)
	require.Equal(t, []string{"abcdefgh13"}, c.AccessKeys)
	require.Equal(t, "piped", c.Site.AppPassword)

	missing := filepath.Join(dir, "missing")
	long := write("long", strings.Repeat("s3cret", 20000))
	_, err = config.Load(config.All, nil, complete(
		"SPILLWAY_CRM_TOKEN_FILE="+write("both", "x"),
		"SPILLWAY_SECRET_KEY_FILE="+missing,
		"SPILLWAY_LOG_LEVEL_FILE="+dir,
		"SPILLWAY_LOG_FORMAT_FILE="+long,
	))
	require.Equal(t, []string{
		"SPILLWAY_CRM_TOKEN and SPILLWAY_CRM_TOKEN_FILE are both set: remove one of them",
		fmt.Sprintf("SPILLWAY_SECRET_KEY_FILE %q: the file does not exist, check the path", missing),
		fmt.Sprintf("SPILLWAY_LOG_LEVEL_FILE %q: the file cannot be read, name a plain file", dir),
		fmt.Sprintf("SPILLWAY_LOG_FORMAT_FILE %q: the file is longer than 64 KiB, name the one that holds the value alone", long),
	}, problems(t, err))
}

// pipe gives a text once, as a shell's <(command) does.
func pipe(t *testing.T, text string) (path string) {
	t.Helper()
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, reader.Close()) })
	_, err = writer.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	return fmt.Sprintf("/dev/fd/%d", reader.Fd())
}

// A deployment has the same files for everybody: what is not needed is empty.
func TestAnEmptyFileCountsAsUnset(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, []byte(" \n"), 0o600))
	c, err := config.Load(config.All, nil, complete(
		"SPILLWAY_SEARCH_KEY_FILE="+empty, "SPILLWAY_SECRET_KEY_FILE="+empty, "SPILLWAY_ADMIN_PASSWORD_FILE="+empty,
		"SPILLWAY_CRM_CLIENT_ID_FILE="+empty, "SPILLWAY_CRM_CLIENT_SECRET_FILE="+empty, "SPILLWAY_CRM_REFRESH_TOKEN_FILE="+empty,
		"SPILLWAY_ACCESS_KEYS_FILE="+empty, // beside the variable, which counts
	))
	require.NoError(t, err)
	require.Nil(t, c.SearchKey)
	require.Nil(t, c.SecretKey)
	require.False(t, c.CRM.OAuth())
	require.Equal(t, []string{"abcdefgh12"}, c.AccessKeys)

	_, err = config.Load(config.Ingest, nil, []string{"SPILLWAY_ACCESS_KEYS_FILE=" + empty, "SPILLWAY_ADMIN_ADDR=:8081", "SPILLWAY_ADMIN_PASSWORD_FILE=" + empty})
	require.Equal(t, []string{
		"SPILLWAY_ACCESS_KEYS is missing, the file " + empty + " is empty: set it to the access key that the CRM's webhooks carry",
		`SPILLWAY_ADMIN_ADDR ":8081": open to other machines without a password, set SPILLWAY_ADMIN_PASSWORD or listen on 127.0.0.1`,
	}, problems(t, err))
}

func TestKubernetesServiceVariablesAreNoSettings(t *testing.T) {
	t.Parallel()
	_, err := config.Load(config.All, nil, complete(
		"SPILLWAY_SERVICE_HOST=10.0.0.1", "SPILLWAY_SERVICE_PORT=80", "SPILLWAY_SERVICE_PORT_HTTP=80", "SPILLWAY_PORT=tcp://10.0.0.1:80",
		"SPILLWAY_INGEST_PORT_8080_TCP=tcp://10.0.0.1:8080", "SPILLWAY_REDIS_PORT_6379_TCP_ADDR=10.0.0.2",
	))
	require.NoError(t, err)
}

func TestTheEnvironmentWinsOverItsFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), ".env")
	require.NoError(t, os.WriteFile(path, []byte(
		"\ufeff# comment\nSPILLWAY_SITE_BATCH=3\nexport SPILLWAY_LOG_LEVEL=warn\nSPILLWAY_CRM_TOKEN=other\nSPILLWAY_ADMIN_PASSWORD='pa$$ #1'\nHOME=/nowhere\nOTEL_SERVICE_NAME=a\n"), 0o600))
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("from-file"), 0o600))

	// compose passes on an empty variable for each that it does not know.
	environ, err := config.WithEnvFile(complete("SPILLWAY_SITE_BATCH=4", "SPILLWAY_LOG_LEVEL=", "SPILLWAY_ADMIN_PASSWORD_FILE=", "SPILLWAY_CRM_TOKEN=", "SPILLWAY_CRM_TOKEN_FILE="+token), path)
	require.NoError(t, err)
	require.NotContains(t, environ, "HOME=/nowhere")
	require.Contains(t, environ, "OTEL_SERVICE_NAME=a")
	c, err := config.Load(config.All, nil, environ)
	require.NoError(t, err)
	require.Equal(t, 4, c.Site.Batch)
	require.Equal(t, zerolog.WarnLevel, c.LogLevel)
	require.Equal(t, "from-file", c.CRM.Token)
	require.Equal(t, "pa$$ #1", c.AdminPassword)
}

func TestAWrongEnvFileIsReportedWithoutItsContent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), ".env")
	require.NoError(t, os.WriteFile(path, []byte("SPILLWAY_SITE_BATCH=3\n\nSPILLWAY-CRM-TOKEN=s3cret\nA=b\n"), 0o600))
	_, err := config.WithEnvFile(nil, path)
	require.EqualError(t, err, "reading settings of "+path+": line 3 is wrong, write NAME=value")

	_, err = config.WithEnvFile(nil, path+".missing")
	require.ErrorIs(t, err, os.ErrNotExist)
}
