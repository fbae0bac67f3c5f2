package connect_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/config"
	"spillway/internal/operate/connect"
	"spillway/internal/site"
)

func codeOf(t *testing.T, content any) string {
	t.Helper()
	encoded, err := json.Marshal(content)
	require.NoError(t, err)
	text := base64.RawURLEncoding.EncodeToString(encoded)
	digest := sha256.Sum256([]byte(text))
	return "spw1." + text + "." + hex.EncodeToString(digest[:4])
}

func TestCodeIsReadAsItWasPasted(t *testing.T) {
	t.Parallel()
	pasted := codeOf(t, map[string]string{"site": "https://www.Example.com/shop/", "secret": "abc"})
	for _, text := range []string{
		pasted, " " + pasted + "\r\n", pasted[:20] + "\n  " + pasted[20:], "\ufeff" + pasted,
		`"` + pasted + `"`, "“" + pasted + "”.", "`" + pasted + "`", "Code: " + pasted + " and more",
		pasted[:20] + "\u00ad\u200b" + pasted[20:], "> " + pasted[:30] + "\n> " + pasted[30:],
	} {
		code, err := connect.ParseCode(text)
		require.NoError(t, err)
		require.Equal(t, connect.Code{Site: "https://www.Example.com/shop", Secret: "abc"}, code)
		require.Equal(t, "example-com-shop", code.SiteName())
	}
	for _, address := range []string{"http://127.0.0.1:8080", "http://localhost", "http://[::1]:80"} {
		_, err := connect.ParseCode(codeOf(t, map[string]string{"site": address, "secret": "abc"}))
		require.NoError(t, err, "this machine")
	}
}

func TestCodeThatIsNoneIsRefusedWithoutShowingIt(t *testing.T) {
	t.Parallel()
	whole := codeOf(t, map[string]string{"site": "https://example.com", "secret": "s3cret"})
	for pasted, says := range map[string]string{
		"":                      "no connection code",
		"s3cret":                "no connection code",
		whole[:len(whole)-12]:   "not whole",
		whole[:len(whole)-1]:    "not whole",
		"spw1":                  "no connection code",
		whole[:40] + whole[41:]: "not whole",
		codeOf(t, "s3cret"):     "cannot be read",
		codeOf(t, map[string]string{"site": "https://example.com"}):                          "cannot be read",
		codeOf(t, map[string]string{"site": "http://example.com", "secret": "s3cret"}):       "plain text",
		codeOf(t, map[string]string{"site": "example.com", "secret": "s3cret"}):              "names no site",
		codeOf(t, map[string]string{"site": "ftp://example.com", "secret": "s3cret"}):        "names no site",
		codeOf(t, map[string]string{"site": "https://u:s3cret@example.com", "secret": "s3"}): "names no site",
	} {
		_, err := connect.ParseCode(pasted)
		require.ErrorContains(t, err, says, pasted)
		require.NotContains(t, err.Error(), "s3cret")
	}
}

func TestPasswordOfTheWebServerIsTakenForTheSameSiteAlone(t *testing.T) {
	t.Parallel()
	code := connect.Code{Site: "https://staging.example.com/shop", Secret: "abc"}
	const with = "https://stage:s3cr%40t@Staging.example.com/shop"
	require.Equal(t, with, code.Address("", "https://other:x@example.com", " "+with+"/ "))
	for _, other := range []string{"", "https://staging.example.com/shop", "https://a:b@staging.example.com", "http://a:b@staging.example.com/shop", "https://a:b@staging.example.com.evil.example/shop"} {
		require.Equal(t, code.Site, code.Address(other), other)
	}
	made := plan(t, "", nil, func(o *connect.Options) { o.Site = with })
	require.Contains(t, made.Text(false), "SPILLWAY_SITE_URL='"+with+"'")
	require.NotContains(t, made.Text(true), "s3cr")
}

// connection is what a site gives; the settings are JSON as PHP writes it.
func connection(t *testing.T, settings string, secrets map[string]string) site.Connection {
	t.Helper()
	given := site.Connection{Site: "https://example.com", User: "spillway", Password: "abcd efgh"}
	if settings != "" {
		given.Fusion = &site.Fusion{Version: "3.47.11", ContactIDKey: "pulsetech_contact_id", TagsKey: "pulsetech_tags", Secrets: secrets}
		require.NoError(t, json.Unmarshal([]byte(settings), &given.Fusion.Settings))
	}
	return given
}

func plan(t *testing.T, settings string, secrets map[string]string, change func(*connect.Options)) connect.Plan {
	t.Helper()
	options := connect.Options{Site: "https://example.com", Given: func(string) bool { return false }}
	if change != nil {
		change(&options)
	}
	return connect.NewPlan(connection(t, settings, secrets), options)
}

// value is what a plan sets; a setting left to a person is "?".
func value(p connect.Plan, name string) string {
	for _, line := range p.Lines {
		if line.Name == name {
			if line.Off {
				return "?"
			}
			return line.Value
		}
	}
	return ""
}

// remarks joins what is said about a setting.
func remarks(p connect.Plan, setting string) string {
	var said []string
	for _, remark := range p.Remarks {
		if remark.Setting == setting {
			said = append(said, string(remark.Verdict)+": "+remark.Text)
		}
	}
	return strings.Join(said, "\n")
}

var token = map[string]string{"access_key": "abcd1234", "pulsetech_token": "tok3n"}

func TestFieldTableInAllItsShapes(t *testing.T) {
	t.Parallel()
	p := plan(t, `{"contact_fields": {
		"last_name": {"active": true, "type": "text", "crm_field": "last_name"},
		"user_email": {"active": "1", "type": "email", "crm_field": "email"},
		"untouched": {"type": "text", "crm_field": "x"},
		"off": {"active": "0", "type": "text", "crm_field": "x"},
		"nowhere": {"active": true, "type": "text", "crm_field": false},
		"empty": {"active": 1, "type": "text", "crm_field": ""},
		"billing_country": {"active": 1, "type": "country", "crm_field": "address_1.country_name"},
		"when": {"active": true, "type": "datepicker", "crm_field": "cf_1"},
		"box": {"active": true, "type": "checkbox", "crm_field": "cf_2"},
		"many": {"active": true, "type": "multiselect (values)", "crm_field": "cf_3"},
		"few": {"active": true, "type": "Multiselect", "crm_field": "cf_4"},
		"exact": {"active": true, "type": "raw", "crm_field": "cf_5"},
		"numeric": {"active": true, "type": "int", "crm_field": 17},
		"role": {"active": true, "type": "text", "crm_field": "cf_6"},
		"user_login": {"active": true, "type": "text", "crm_field": "wp_login"},
		"user_id": {"active": true, "type": "int", "crm_field": "wp_id"},
		"user_registered": {"active": true, "type": "date", "crm_field": "wp_since", "pseudo": "1"},
		"some_pseudo": {"active": true, "type": "text", "crm_field": "cf_7", "pseudo": true},
		"wp_2_capabilities": {"active": true, "type": "multiselect", "crm_field": "cf_8"},
		"a,b": {"active": true, "type": "text", "crm_field": "cf_9"},
		"colon": {"active": true, "type": "text", "crm_field": "a:b"},
		"broken": "text"
	}, "return_password": true, "return_password_field": "wp_password"}`, token, nil)
	require.Equal(t, "user_email=email,user_login=wp_login,last_name=last_name,billing_country=address_1.country_name,box=cf_2,exact=cf_5:raw,"+
		"few=cf_4:multiselect,many=cf_3:multiselect,numeric=17,role=cf_6,when=cf_1", value(p, "SPILLWAY_FIELDS"))
	require.Equal(t, "user_login=wp_login,user_id=wp_id", value(p, "SPILLWAY_RETURN_FIELDS"))
	for setting, says := range map[string]string{
		"contact_fields": "becomes 0", "contact_fields[wp_2_capabilities]": "left: WordPress's own list of roles", "contact_fields[a,b]": "left: the key holds a comma",
		"contact_fields[colon]": "left: the CRM field's name", "contact_fields[role]": "SPILLWAY_ROLES_ALLOWED", "contact_fields[user_registered]": "left: Spillway does not return",
	} {
		require.Contains(t, remarks(p, setting), says)
	}
	require.Contains(t, remarks(p, "contact_fields"), "lists (few, many)")
	require.Contains(t, remarks(p, "contact_fields"), "some_pseudo, user_registered: only sent")
	require.Contains(t, remarks(p, "contact_fields"), "Spillway returns user_login=wp_login and user_id=wp_id")

	for _, none := range []string{`{"contact_fields": []}`, `{"contact_fields": false}`, `{}`, `{"contact_fields": {"user_id": {"active": true, "crm_field": "x"}}}`} {
		p := plan(t, none, token, nil)
		require.Equal(t, "?", value(p, "SPILLWAY_FIELDS"), none)
		require.Contains(t, remarks(p, "contact_fields"), "to do: ")
	}
	require.Contains(t, remarks(plan(t, `{"contact_fields": {"city": {"active": true, "crm_field": "x"}}}`, token, nil), "contact_fields[user_email]"), "to do")
}

func TestPasswordIsReturnedWhereWPFusionReturnsIt(t *testing.T) {
	t.Parallel()
	mapped := `"contact_fields": {"user_pass": {"active": true, "crm_field": "cf_pass"}, "user_login": {"active": true, "crm_field": "wp_password"}}`
	for settings, want := range map[string]string{
		`{"return_password": "1", "return_password_field": "wp_password"}`:                                 "wp_password",
		`{"return_password": true, "return_password_field": {"crm_field": "wp_password"}}`:                 "wp_password",
		`{"return_password": true, "return_password_field": false, ` + mapped + `}`:                        "cf_pass",
		`{"return_password": false, "return_password_field": "wp_password", ` + mapped + `}`:               "cf_pass",
		`{"return_password": "0", "return_password_field": "wp_password"}`:                                 "",
		`{"return_password": true, "return_password_field": []}`:                                           "",
		`{"return_password": true, "return_password_field": {"crm_field": "wp_password"}, ` + mapped + `}`: "wp_password",
	} {
		p := plan(t, settings, token, nil)
		require.Equal(t, want, value(p, "SPILLWAY_RETURN_PASSWORD_FIELD"), settings)
		require.Equal(t, want != "", value(p, "SPILLWAY_SECRET_KEY") != "", "it seals them")
		if want == "" {
			continue
		}
		require.Equal(t, want == "wp_password", !strings.Contains(value(p, "SPILLWAY_RETURN_FIELDS"), "wp_password"), "no field gets two values: %s", settings)
	}
	p := plan(t, `{"return_password": true, "return_password_field": "x"}`, token, func(o *connect.Options) { o.Shared = true })
	require.Empty(t, value(p, "SPILLWAY_SECRET_KEY"))
	require.Contains(t, remarks(p, "SPILLWAY_SECRET_KEY"), "to do")
}

func TestWayIntoTheCRM(t *testing.T) {
	t.Parallel()
	oauth := map[string]string{"pulsetech_token": "tok3n", "pulsetech_client_id": "cl1ent", "pulsetech_secret": "cl1ent-secret", "pulsetech_refresh_token": "r3fresh"}
	p := plan(t, `{"pulsetech_url": "app.acme.thepulsespot.com/"}`, oauth, nil)
	require.Equal(t, "https://app.acme.thepulsespot.com", value(p, "SPILLWAY_CRM_URL"))
	require.Equal(t, "tok3n", value(p, "SPILLWAY_CRM_TOKEN"))
	require.Equal(t, "?", value(p, "SPILLWAY_CRM_REFRESH_TOKEN"), "offered, not taken: it works once")
	require.Contains(t, remarks(p, "pulsetech_refresh_token"), "works once")
	require.Contains(t, remarks(p, "pulsetech_refresh_token"), "client of Spillway's own")

	p = plan(t, `{"pulsetech_url": "http://app.acme.thepulsespot.com/api/v1/"}`, oauth, func(o *connect.Options) { o.TakeOAuth = true })
	require.Equal(t, "https://app.acme.thepulsespot.com", value(p, "SPILLWAY_CRM_URL"))
	require.Contains(t, remarks(p, "pulsetech_url"), "changed")
	require.Equal(t, []string{"", "cl1ent", "cl1ent-secret", "r3fresh"}, []string{
		value(p, "SPILLWAY_CRM_TOKEN"), value(p, "SPILLWAY_CRM_CLIENT_ID"), value(p, "SPILLWAY_CRM_CLIENT_SECRET"), value(p, "SPILLWAY_CRM_REFRESH_TOKEN"),
	})
	require.NotEmpty(t, value(p, "SPILLWAY_SECRET_KEY"))

	p = plan(t, `{"pulsetech_url": ""}`, nil, func(o *connect.Options) { o.TakeOAuth = true })
	require.Equal(t, "?", value(p, "SPILLWAY_CRM_URL"))
	require.Equal(t, "?", value(p, "SPILLWAY_CRM_TOKEN"))
	require.Contains(t, remarks(p, "pulsetech_token"), "to do")
}

func TestAccessKeyThatSpillwayCannotTakeIsReplaced(t *testing.T) {
	t.Parallel()
	require.Equal(t, "abcd1234", value(plan(t, `{}`, token, nil), "SPILLWAY_ACCESS_KEYS"))
	for _, key := range []string{"", "short", "with space", "with,comma"} {
		p := plan(t, `{}`, map[string]string{"access_key": key}, nil)
		require.Regexp(t, `^[0-9a-f]{32}$`, value(p, "SPILLWAY_ACCESS_KEYS"))
		require.Contains(t, remarks(p, "access_key"), "changed")
	}
}

func TestCodeWithoutWPFusionAsksForTheRest(t *testing.T) {
	t.Parallel()
	p := plan(t, "", nil, nil)
	require.Regexp(t, `^[0-9a-f]{32}$`, value(p, "SPILLWAY_ACCESS_KEYS"))
	require.Equal(t, "?", value(p, "SPILLWAY_CRM_URL"))
	require.Contains(t, remarks(p, "WP Fusion"), "SPILLWAY_CRM_TOKEN")

	p = plan(t, "", nil, func(o *connect.Options) { o.Given = func(string) bool { return true } })
	require.Empty(t, value(p, "SPILLWAY_ACCESS_KEYS"), "what is set already stays")
	require.Empty(t, p.Remarks)
}

// The file is read back as it was meant, whatever the values hold, and no
// remark shows a secret.
func TestFileIsReadAsItIsMeant(t *testing.T) {
	t.Parallel()
	for _, odd := range []string{"plain-1234", "a b#c$d5678", "quo'te\\back$5", `"dou"ble'${HOME}`, "`tick`\\n1234", "=:;|&<>()12"} {
		given := connection(t, `{"contact_fields": {"user_email": {"active": true, "crm_field": "email"}, "an odd $key": {"active": true, "crm_field": "cf 'one'"}},
			"pulsetech_url": "https://app.acme.thepulsespot.com", "return_password": true, "return_password_field": "wp_password",
			"send_welcome_email": true, "username_format": "fnamenum"}`, map[string]string{"access_key": "abcd1234", "pulsetech_token": odd})
		given.Password = odd
		p := connect.NewPlan(given, connect.Options{Site: "https://example.com", Given: func(string) bool { return false }})
		path := filepath.Join(t.TempDir(), "site.env")
		require.NoError(t, p.Write(path, false))
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

		environ, err := config.WithEnvFile(nil, path)
		require.NoError(t, err)
		settings, err := config.Load(config.Worker, nil, environ)
		require.NoError(t, err)
		require.Equal(t, odd, settings.CRM.Token)
		require.Equal(t, odd, settings.Site.AppPassword)
		require.Equal(t, "cf 'one'", settings.Fields.CRMField("an odd $key", ""))
		require.Equal(t, "fnamenum", settings.Login)
		require.True(t, settings.NotifyAlways)
		require.Len(t, settings.SecretKey, 32)

		masked := p.Text(true)
		for _, line := range p.Lines {
			if line.Secret && line.Value != "" {
				require.NotContains(t, masked, line.Value)
			}
		}
		for _, remark := range p.Remarks {
			require.NotContains(t, remark.Text, odd)
			require.NotContains(t, remark.Text, "abcd1234")
		}
	}
}

func TestSettingsOfAFileStayUnlessReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), ".env")
	const before = "# mine\nSPILLWAY_REDIS_URL=redis://127.0.0.1:6379/3\nexport SPILLWAY_SITE_URL=https://old.example.com\nSPILLWAY_CRM_REFRESH_TOKEN_FILE=/x\nSPILLWAY_CRM_CLIENT_ID=y\n"
	require.NoError(t, os.WriteFile(path, []byte(before), 0o644))
	require.ErrorIs(t, connect.Conflict(path), connect.ErrExists)
	p := plan(t, `{}`, token, nil)
	err := p.Write(path, false)
	require.ErrorIs(t, err, connect.ErrExists)
	require.ErrorContains(t, err, "SPILLWAY_SITE_URL")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, string(content))

	for range 2 {
		require.NoError(t, p.Write(path, true))
	}
	content, err = os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(content), "# mine\nSPILLWAY_REDIS_URL=redis://127.0.0.1:6379/3\n"), "%s", content)
	require.NotContains(t, string(content), "old.example.com")
	require.NotContains(t, string(content), "REFRESH_TOKEN_FILE", "the token is the other way into the CRM")
	require.Equal(t, 1, strings.Count(string(content), "SPILLWAY_SITE_URL="))
	require.Equal(t, 1, strings.Count(string(content), "as `spillway connect` wrote them"))
	require.Equal(t, 1, strings.Count(string(content), "# WP Fusion's access token"))
	require.Equal(t, 1, strings.Count(string(content), "#SPILLWAY_FIELDS="))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, connect.Conflict(filepath.Join(t.TempDir(), "none.env")))
	require.Error(t, p.Write(filepath.Join(t.TempDir(), "no", "folder.env"), true))
}

// The Debian package's folder of sites belongs to the group that the services
// are in.
func TestAFolderThatSharesWithItsGroupSharesTheSitesFile(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	folder := t.TempDir()
	require.NoError(t, os.Chmod(folder, 0o750|fs.ModeSetgid))
	path := filepath.Join(folder, "shop.env")
	p := connect.Plan{Lines: []connect.Line{{Name: "SPILLWAY_SITE_URL", Value: "https://shop.example.com"}}}
	for _, replace := range []bool{false, true} {
		require.NoError(t, p.Write(path, replace))
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o640), info.Mode().Perm())
	}
}
