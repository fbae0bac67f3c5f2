package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/config"
	"spillway/internal/pulse"
	"spillway/internal/redisconn"
	"spillway/internal/site"
	"spillway/internal/webhook"
)

// planted begins every secret of the fuzzed settings.
const planted = "pl4nted-"

// FuzzLoad holds any settings, some of them from an env file, against what the
// package guarantees: an error is a list of lines, no secret shows anywhere,
// and what passes the checks is accepted by the parts that it is for.
func FuzzLoad(f *testing.F) {
	names := config.Names()
	index := func(name string) uint8 {
		for i, known := range names {
			if known == name {
				return uint8(i)
			}
		}
		f.Fatal(name)
		return 0
	}
	for name, values := range map[string][]string{
		"SPILLWAY_REDIS_URL": {
			"rediss://user:pl4nted-pw@redis.example.com:6380/2", "redis-sentinel://a:1,b/mymaster/3?sentinel_password=pl4nted-x",
			"redis-cluster://[::1]:7000,b?tls=true", "redis://a b", "redis://h/x", "redis-cluster://h/1", "embedded",
		},
		"SPILLWAY_ACCESS_KEYS":    {"pl4nted-key,pl4nted-other", ",", "short", "a key with spaces"},
		"SPILLWAY_CRM_URL":        {"https://u:pl4nted-pw@host", "http://127.0.0.1:8000/x/", "http://[::1%25lo]/", "https://h:99999"},
		"SPILLWAY_SITE_URL":       {"https://example.com/wp", "https://example.com/%zz", "https://"},
		"SPILLWAY_SITE_USER":      {"a:b"},
		"SPILLWAY_FIELDS":         {"user_email=email,interests=topics:multiselect", "=,=:", "a=b:c"},
		"SPILLWAY_RETURN_FIELDS":  {"user_login=a,user_id=a", "user_login"},
		"SPILLWAY_ROLES_ALLOWED":  {"customer, Administrator", "customer"},
		"SPILLWAY_DEFAULT_ROLE":   {"customer", "editor"},
		"SPILLWAY_SECRET_KEY":     {key32, "pl4nted-AAA="},
		"SPILLWAY_CRM_RATE":       {"NaN", "1e3", "0.05"},
		"SPILLWAY_ADMIN_ADDR":     {":8081", "[::1]:http", "127.0.0.1:0"},
		"SPILLWAY_ADMIN_PASSWORD": {"pl4nted-\x00"},
		"SPILLWAY_LOG_LEVEL":      {"TRACE", "loud"},
	} {
		for _, value := range values {
			f.Add(uint8(1), index(name), value, "")
			f.Add(uint8(3), index(name), value, "SPILLWAY_CRM_TOKEN='pl4nted-token'\nSPILLWAY_SITE_BATCH=\"7")
		}
	}
	f.Fuzz(func(t *testing.T, role, which uint8, value, file string) {
		if strings.Contains(value, "\x00") {
			return // no environment holds one
		}
		name := names[int(which)%len(names)]
		environ := withPlantedSecrets(name + "=" + value)
		if file != "" {
			path := filepath.Join(t.TempDir(), "env")
			require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
			var err error
			if environ, err = config.WithEnvFile(environ, path); err != nil {
				require.NotContains(t, err.Error(), planted)
				require.NotContains(t, err.Error(), "\n")
				return
			}
		}
		c, err := config.Load(config.Role(role%3)+1, nil, environ)
		if err != nil {
			requireLinesWithoutSecrets(t, err, value+file)
			return
		}
		requireNoSecretPrinted(t, c)
		requireAccepted(t, c)
	})
}

// withPlantedSecrets returns valid settings with secrets that can be told, the
// given one first.
func withPlantedSecrets(given string) []string {
	return complete(given,
		"SPILLWAY_REDIS_URL=redis://user:"+planted+"redis@127.0.0.1:6379/0",
		"SPILLWAY_ACCESS_KEYS="+planted+"access",
		"SPILLWAY_CRM_TOKEN="+planted+"token",
		"SPILLWAY_SITE_APP_PASSWORD="+planted+"password",
		"SPILLWAY_SITE_USER="+planted+"user",
		"SPILLWAY_ADMIN_PASSWORD="+planted+"admin",
	)
}

// requireLinesWithoutSecrets looks for the planted secrets, unless the fuzzer
// wrote one into a setting that may be shown.
func requireLinesWithoutSecrets(t *testing.T, err error, fuzzed string) {
	t.Helper()
	var invalid *config.Invalid
	require.ErrorAs(t, err, &invalid)
	require.NotEmpty(t, invalid.Problems)
	for _, problem := range invalid.Problems {
		require.NotEmpty(t, problem)
		require.NotContains(t, problem, "\n")
		if !strings.Contains(fuzzed, planted) {
			require.NotContains(t, problem, planted)
		}
	}
}

func requireNoSecretPrinted(t *testing.T, c config.Config) {
	t.Helper()
	written, err := json.Marshal(c)
	require.NoError(t, err)
	for _, printed := range []string{c.String(), string(written)} {
		for _, secret := range []string{"redis", "access", "token", "password", "user", "admin"} {
			require.NotContains(t, printed, planted+secret)
		}
	}
}

// requireAccepted gives the settings to the parts that they are for.
func requireAccepted(t *testing.T, c config.Config) {
	t.Helper()
	if c.RedisURL != "embedded" {
		_, err := redisconn.Parse(c.RedisURL)
		require.NoError(t, err, c.RedisURL)
	}
	if c.AccessKeys != nil {
		ring, err := webhook.NewKeyring(map[string][]string{c.Name: c.AccessKeys})
		require.NoError(t, err)
		for _, key := range c.AccessKeys {
			require.Equal(t, c.Name, ring.Site(key))
		}
	}
	if c.CRM.URL != "" {
		_, err := pulse.New(pulse.Options{URL: c.CRM.URL, Tokens: pulse.Fixed(c.CRM.Token), Concurrency: c.CRM.Concurrency})
		require.NoError(t, err, c.CRM.URL)
	}
	// Ingest reads the address alone, for links.
	if c.Site.URL != "" && c.Site.User != "" {
		client, err := site.New(site.Options{
			URL: c.Site.URL, User: c.Site.User, AppPassword: c.Site.AppPassword, Batch: c.Site.Batch, RolesAllowed: c.RolesAllowed,
		})
		require.NoError(t, err, c.Site.URL)
		require.NoError(t, client.Close(t.Context()))
	}
}
