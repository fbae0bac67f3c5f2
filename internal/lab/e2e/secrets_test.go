package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/lab/sandbox"
)

// What is planted below, each to be found if it shows anywhere.
const (
	plantedKey      = "pl4nted-access-key-1"
	plantedSecret   = "pl4nted-client-secret-2"
	plantedRefresh  = "pl4nted-refresh-token-3"
	plantedPassword = "pl4nted-app-password-4"
	plantedAdmin    = "pl4nted-admin-password-5"
	plantedName     = "Pl4ntedfirstname"
	plantedFamily   = "Pl4ntedlastname"
	plantedGuess    = "pl4nted-wrong-key-6"
	plantedLogin    = "pl4nted-own-login-7"
)

func plantedEmail(id int) string { return fmt.Sprintf("pl4nted.person%d@example.org", id) }

// quoting answers some contacts with errors that quote their data, as CRMs and
// sites do, and hands everything else on.
func quoting(answers map[string]string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			for mark, answer := range answers {
				if !strings.HasSuffix(r.URL.Path, mark) && !bytes.Contains(body, []byte(mark)) {
					continue
				}
				var status int
				_, _ = fmt.Sscan(answer, &status)
				_, text, _ := strings.Cut(answer, " ")
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				_, _ = io.WriteString(w, text)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			next.ServeHTTP(w, r)
		})
	}
}

func TestNothingThatIsSecretShows(t *testing.T) {
	t.Parallel()
	quote := fmt.Sprintf("%s %s <%s>", plantedName, plantedFamily, plantedEmail(0))
	s := startLight(t, lightOptions{
		crm: sandbox.CRMOptions{OAuth: &sandbox.OAuthOptions{ClientID: "pl4nted-client-id", ClientSecret: plantedSecret, RefreshToken: plantedRefresh}},
		wrapCRM: quoting(map[string]string{
			"/contacts/2": `422 {"message":"The given data was invalid.","errors":{"email":["` + quote + `"]}}`,
			"/contacts/3": `500 {"message":"SQLSTATE: ` + quote + `"}`,
			"/contacts/4": `200 <html>` + quote + `</html>`,
			"/contacts/5": `403 {"error":"` + quote + `"}`,
		}),
		wrapSite: quoting(map[string]string{
			plantedEmail(6): `200 {"results":[{"contact_id":"6","outcome":"failed","error":{"code":"odd","message":"no room for ` + plantedEmail(6) + " " + plantedName + `","permanent":true}}]}`,
			plantedEmail(7): `400 {"code":"rest_invalid","message":"` + plantedEmail(7) + " " + plantedFamily + `"}`,
			plantedEmail(8): `500 <p>Fatal error: Uncaught ` + plantedEmail(8) + " " + plantedName + `</p>`,
		}),
		env: map[string]string{
			"SPILLWAY_ACCESS_KEYS": plantedKey, "SPILLWAY_SITE_APP_PASSWORD": plantedPassword, "SPILLWAY_ADMIN_PASSWORD": plantedAdmin,
			"SPILLWAY_CRM_CLIENT_ID": "pl4nted-client-id", "SPILLWAY_CRM_CLIENT_SECRET": plantedSecret, "SPILLWAY_CRM_REFRESH_TOKEN": plantedRefresh,
			"SPILLWAY_FIELDS":      "user_email=email,first_name=first_name,last_name=last_name,user_login=username,user_pass=own_password",
			"SPILLWAY_ANSWER_WAIT": "1s",
		},
	})
	s.env["SPILLWAY_SITE_APP_PASSWORD"] = sitePassword
	s.run(t)

	// The ways of a webhook, right and wrong ones.
	last := 9
	for id := 1; id <= last; id++ {
		fields := map[string]any{"email": plantedEmail(id), "first_name": plantedName, "last_name": plantedFamily}
		if id == last {
			fields["username"], fields["own_password"] = plantedLogin, plantedPassword
		}
		s.put(id, fields, 24)
	}
	var answers []string
	say := func(query url.Values) int {
		status, body := get(t.Context(), s.webhooks+"/?"+query.Encode())
		answers = append(answers, body)
		return status
	}
	for id := 1; id <= last; id++ {
		status := say(url.Values{
			"wpf_action": {"add"}, "access_key": {plantedKey}, "contact_id": {fmt.Sprint(id)},
			"email": {plantedEmail(id)}, "first_name": {plantedName},
		})
		require.Contains(t, []int{http.StatusOK, http.StatusUnprocessableEntity}, status)
	}
	for range 25 {
		say(url.Values{"wpf_action": {"add"}, "access_key": {plantedGuess}, "contact_id": {"1"}, "email": {plantedEmail(1)}})
	}
	say(url.Values{"wpf_action": {plantedName}, "access_key": {plantedKey}, "contact_id": {"1"}})
	say(url.Values{"wpf_action": {"add"}, "access_key": {plantedKey}, "contact_id": {plantedEmail(1)}})
	_, body := get(t.Context(), s.webhooks+"/"+plantedKey+"/"+plantedEmail(1))
	answers = append(answers, body)

	seen := func(id int) string {
		status, body := s.asAdmin(t, fmt.Sprintf("/api/v1/contacts/%d", id))
		require.Equal(t, http.StatusOK, status)
		return body
	}
	for _, id := range []int{1, last} {
		require.Eventually(t, func() bool { return strings.Contains(seen(id), `"state":"idle"`) }, 90*time.Second, 50*time.Millisecond)
	}
	for _, id := range []int{2, 3, 4, 5, 6, 7, 8} {
		require.Eventually(t, func() bool { return strings.Contains(seen(id), `"last_error":{`) }, 90*time.Second, 50*time.Millisecond, "contact %d has no error", id)
		answers = append(answers, seen(id))
	}
	generated := s.field(t, 1, "wp_password")
	require.NotEmpty(t, generated)

	for _, path := range []string{
		"/api/v1/stats", "/readyz", "/metrics", "/", "/monitor", "/monitor/api/queues", "/api/v1/contacts/1",
		"/api/v1/contacts/x" + plantedName, "/api/v1/nothing/" + plantedName,
	} {
		_, body := s.asAdmin(t, path)
		answers = append(answers, body)
		status, body := get(t.Context(), s.admin+path)
		answers = append(answers, fmt.Sprint(status), body)
	}
	for _, path := range []string{"/readyz", "/metrics"} {
		_, body := get(t.Context(), s.health+path)
		answers = append(answers, body)
	}

	secrets := []string{
		"l4nted", generated, sitePassword, secretKey, sandboxToken(t, s),
		base64.StdEncoding.EncodeToString([]byte("spillway:" + sitePassword)), base64.StdEncoding.EncodeToString([]byte("admin:" + plantedAdmin)),
	}
	store := dump(t, s.redis.Client())
	for where, text := range map[string]string{"logs": s.logs(), "Redis": store, "answers": strings.Join(answers, "\n")} {
		for _, secret := range secrets {
			require.NotContains(t, strings.ToLower(text), strings.ToLower(secret), "%s show a secret", where)
		}
	}
	require.Contains(t, store, "default:6", "the search looked at what there is")
	require.Contains(t, s.logs(), `"contact":"default:6"`)
	require.Contains(t, strings.Join(answers, "\n"), "too_many_failures")
}

// sandboxToken returns the access token in force: only the CRM knows it.
func sandboxToken(t *testing.T, s *light) string {
	t.Helper()
	token := s.crm.AccessToken()
	require.NotEmpty(t, token)
	return token
}

// asAdmin asks the admin address with its password.
func (s *light) asAdmin(t *testing.T, path string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.admin+path, nil)
	require.NoError(t, err)
	request.SetBasicAuth("admin", s.env["SPILLWAY_ADMIN_PASSWORD"])
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

// dump returns every key of Redis with all that it holds, asynq's tasks among
// them.
func dump(t *testing.T, rdb *redis.Client) string {
	t.Helper()
	var all strings.Builder
	keys := rdb.Scan(t.Context(), 0, "*", 1000).Iterator()
	for keys.Next(t.Context()) {
		key := keys.Val()
		kind, err := rdb.Type(t.Context(), key).Result()
		require.NoError(t, err)
		fmt.Fprintf(&all, "%s (%s): %v\n", key, kind, content(t.Context(), rdb, kind, key))
	}
	require.NoError(t, keys.Err())
	return all.String()
}

func content(ctx context.Context, rdb *redis.Client, kind, key string) any {
	switch kind {
	case "string":
		return rdb.Get(ctx, key).Val()
	case "hash":
		return rdb.HGetAll(ctx, key).Val()
	case "list":
		return rdb.LRange(ctx, key, 0, -1).Val()
	case "set":
		return rdb.SMembers(ctx, key).Val()
	case "zset":
		return rdb.ZRangeWithScores(ctx, key, 0, -1).Val()
	case "stream":
		return rdb.XRange(ctx, key, "-", "+").Val()
	case "none":
		return "gone since the keys were listed"
	default:
		return "a kind that the test does not know: l4nted"
	}
}

// A program that does not start says why without what it was given.
func TestRefusedStartsShowNoSecret(t *testing.T) {
	t.Parallel()
	dir, err := binaries()
	require.NoError(t, err)
	for name, env := range map[string][]string{
		"ingest": {
			"SPILLWAY_REDIS_URL=redis://:pl4nted@host:port/0", "SPILLWAY_ACCESS_KEYS=pl4nted key", "SPILLWAY_ADMIN_PASSWORD=pl4nted\x01",
			"SPILLWAY_TLS_CERT=pl4nted", "SPILLWAY_TLS_KEY=pl4nted", "SPILLWAY_CA=pl4nted",
		},
		"worker": {
			"SPILLWAY_REDIS_URL=http://user:pl4nted@host", "SPILLWAY_CRM_URL=https://user:pl4nted@host", "SPILLWAY_CRM_TOKEN=pl4nted\x01",
			"SPILLWAY_SITE_URL=https://host/?pl4nted", "SPILLWAY_SITE_USER=u", "SPILLWAY_SITE_APP_PASSWORD=pl4nted\x01",
			"SPILLWAY_SECRET_KEY=pl4nted", "SPILLWAY_CRM_CLIENT_SECRET=pl4nted",
		},
	} {
		cmd := exec.Command(filepath.Join(dir, name))
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		require.Error(t, err, name)
		require.Contains(t, string(out), "Wrong settings", name)
		require.NotContains(t, string(out), "pl4nted", name)
	}
}
