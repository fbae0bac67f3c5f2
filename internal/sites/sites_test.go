package sites_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/config"
	"spillway/internal/sites"
)

// lines are the settings of a whole site, with others before them.
func lines(key string, more ...string) string {
	return strings.Join(append(more,
		"SPILLWAY_ACCESS_KEYS="+key,
		"SPILLWAY_CRM_URL=https://app."+key+".example.com",
		"SPILLWAY_CRM_TOKEN=token-of-"+key,
		"SPILLWAY_SITE_URL=https://www."+key+".example.com",
		"SPILLWAY_SITE_USER=spillway",
		"SPILLWAY_SITE_APP_PASSWORD='app password of "+key+"'"), "\n") + "\n"
}

// folder returns a folder of files, and what reads it.
func folder(t *testing.T, files map[string]string) (path string, read func(environ ...string) ([]config.Config, error)) {
	t.Helper()
	path = t.TempDir()
	for name, content := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(path, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(path, name), []byte(content), 0o600))
	}
	return path, func(environ ...string) ([]config.Config, error) {
		base, err := config.Load(config.All, nil, append(environ, "SPILLWAY_SITES="+path))
		if err != nil {
			return nil, err
		}
		return sites.Read(base, config.All)
	}
}

func problems(t *testing.T, err error) []string {
	t.Helper()
	var invalid *config.Invalid
	require.ErrorAs(t, err, &invalid)
	return invalid.Problems
}

func TestASiteIsAFileAndSecretsMayLieBesideIt(t *testing.T) {
	t.Parallel()
	path, read := folder(t, map[string]string{
		"shop.env": strings.Replace(lines("shop-key"), "SPILLWAY_CRM_TOKEN=", "#", 1), "shop/SPILLWAY_CRM_TOKEN": "from-its-folder\n",
		"blog.env":   strings.Replace(lines("blog-key"), "SPILLWAY_CRM_TOKEN=", "SPILLWAY_CRM_TOKEN_FILE=secrets/", 1),
		"README.txt": "none", ".hidden.env": "none", "secrets/token-of-blog-key": "from-a-named-file\n",
	})
	all, err := read()
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, "blog", all[0].Name)
	require.Equal(t, "from-a-named-file", all[0].CRM.Token)
	require.Equal(t, "https://www.shop-key.example.com", all[1].Site.URL)
	require.Equal(t, "from-its-folder", all[1].CRM.Token)
	require.Equal(t, 64, all[1].WorkerConcurrency, "what belongs to the installation is there, too")
	require.Subset(t, sites.Files(path), []string{filepath.Join(path, "shop", "SPILLWAY_CRM_TOKEN"), filepath.Join(path, "secrets", "token-of-blog-key")})

	// A file with a name that no site may have is watched, too: whoever put it there is told.
	before := sites.Files(path)
	require.NoError(t, os.WriteFile(filepath.Join(path, "Gym.env"), nil, 0o600))
	require.NotEqual(t, before, sites.Files(path))

	_, err = sites.Find(all, "shpo")
	require.EqualError(t, err, `there is no site "shpo", use one of: blog, shop`)
}

func TestEveryWrongLineOfEveryFileIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	_, read := folder(t, map[string]string{
		"a.env": lines("a-long-key", "SPILLWAY_SITE_BATCH=0", "SPILLWAY_QUEUES=3"),
		"b.env": lines("b-long-key", "SPILLWAY_RETURN_PASSWORD_FIELD=wp_password"),
		"c.env": "not a line of settings\n", "D.env": "",
	})
	_, err := read()
	require.Equal(t, []string{
		`"D.env": name the file with up to 40 small letters, digits and hyphens, such as shop.env`,
		`a.env: SPILLWAY_QUEUES belongs to the whole installation: set it in the environment of the programs`,
		`a.env: SPILLWAY_SITE_BATCH "0": use a whole number from 1 to 100`,
		`b.env: SPILLWAY_SECRET_KEY is missing: it seals generated passwords and OAuth tokens in Redis; make one with: openssl rand -base64 32`,
	}, problems(t, err)[:4])
	require.Contains(t, problems(t, err)[4], "c.env: reading settings of ")
	require.Contains(t, problems(t, err)[4], "line 1 is wrong, write NAME=value")
	require.NotContains(t, err.Error(), "token-of")

	_, read = folder(t, nil)
	_, err = read()
	require.Contains(t, err.Error(), "holds no site")
	_, err = read("SPILLWAY_CRM_TOKEN=here")
	require.Equal(t, []string{"SPILLWAY_CRM_TOKEN belongs into the file of a site, since SPILLWAY_SITES is set: move it there"}, problems(t, err))
}

func TestAnAccessKeyBelongsToOneSite(t *testing.T) {
	t.Parallel()
	_, read := folder(t, map[string]string{"shop.env": lines("the-same-key"), "blog.env": lines("another-key,the-same-key")})
	_, err := read()
	require.Len(t, problems(t, err), 1)
	require.Contains(t, err.Error(), "shop.env: SPILLWAY_ACCESS_KEYS: key 1 is also a key of blog.env")
	require.NotContains(t, err.Error(), "the-same-key")
}

func TestSitesOfACRMAccountShareItsBudgetAndTokens(t *testing.T) {
	t.Parallel()
	crm := func(key, url string, more ...string) string {
		return strings.Replace(lines(key, more...), "https://app."+key+".example.com", url, 1)
	}
	oauth := func(key, seed string) string {
		text := crm(key, "https://app.oauth.example.com", "SPILLWAY_CRM_CLIENT_ID=client", "SPILLWAY_CRM_CLIENT_SECRET=secret", "SPILLWAY_CRM_REFRESH_TOKEN="+seed)
		return strings.Replace(text, "SPILLWAY_CRM_TOKEN=", "#", 1)
	}
	const secretKey = "SPILLWAY_SECRET_KEY=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	_, read := folder(t, map[string]string{
		"default.env": crm("default-key", "https://app.one.example.com"), "same.env": crm("same-long-key", "https://app.ONE.example.com/", "SPILLWAY_CRM_RATE=7"),
		"other.env": crm("other-long-key", "https://app.two.example.com", "SPILLWAY_CRM_RATE=9"),
		"x.env":     oauth("x-long-key", "seed"), "y.env": oauth("y-long-key", "seed"),
	})
	all, err := read(secretKey)
	require.NoError(t, err)
	byName := make(map[string]config.CRM)
	for _, site := range all {
		byName[site.Name] = site.CRM
	}
	require.Empty(t, byName["default"].Account+byName["default"].Tokens, "the default site's names are as they were")
	require.Empty(t, byName["same"].Account)
	require.InDelta(t, 7, byName["default"].Rate, 0, "the lowest rate is the account's")
	require.NotEmpty(t, byName["other"].Account)
	require.InDelta(t, 9, byName["other"].Rate, 0)
	require.NotEqual(t, byName["other"].Account, byName["x"].Account)
	require.NotEmpty(t, byName["x"].Tokens)
	require.Equal(t, byName["x"].Account+byName["x"].Tokens, byName["y"].Account+byName["y"].Tokens)

	_, read = folder(t, map[string]string{"x.env": oauth("x-long-key", "seed"), "y.env": oauth("y-long-key", "another seed")})
	_, err = read(secretKey)
	require.Len(t, problems(t, err), 1)
	require.Contains(t, err.Error(), "y.env: SPILLWAY_CRM_REFRESH_TOKEN: has the OAuth client of x.env")
}

func TestWithoutAFolderThereIsOneSite(t *testing.T) {
	t.Parallel()
	base, err := config.Load(config.All, nil, strings.Split(strings.TrimSpace(strings.ReplaceAll(lines("only-long-key"), "'", "")), "\n"))
	require.NoError(t, err)
	all, err := sites.Read(base, config.All)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, "default", all[0].Name)
	require.Empty(t, all[0].CRM.Account)
}
