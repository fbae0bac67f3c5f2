package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/lab/wptest"
)

// branch is one site of an agency: a real WordPress and a CRM account.
type branch struct {
	name string
	tag  int // the contacts' only one
	crm  *sandbox.CRM
	site *wptest.Site
}

func (b *branch) key() string         { return "access-key-of-" + b.name }
func (b *branch) email(id int) string { return fmt.Sprintf("contact%d@%s.example.org", id, b.name) }

// everything is what a site's database says of people.
func (b *branch) everything() string {
	return b.site.PHP(`global $wpdb;
		foreach ( array( $wpdb->users, $wpdb->usermeta, $wpdb->options ) as $table ) {
			echo wp_json_encode( $wpdb->get_results( "SELECT * FROM $table" ) );
		}`)
}

// Two real sites and two CRM accounts in one installation have contacts of the same
// ids. Nothing of one is ever on the other: no user, tag, password, mail, log line or
// timeline.
func TestTwoSitesOfOneInstallationShareNothing(t *testing.T) {
	t.Parallel()
	const contacts = 4
	branches := []*branch{{name: "bakery", tag: 4711}, {name: "choir", tag: 8155}}
	for _, b := range branches {
		b.crm = sandbox.NewCRM(sandbox.CRMOptions{Token: "crm-token-of-" + b.name, Latency: 5 * time.Millisecond})
		b.site = wptest.Start(t, wptest.Options{})
		for id := 1; id <= contacts; id++ {
			b.crm.Put(strconv.Itoa(id), map[string]any{"email": b.email(id), "first_name": "Of" + b.name}, []int{b.tag})
		}
	}
	folder := t.TempDir()
	for _, b := range branches {
		crm := httptest.NewServer(b.crm)
		t.Cleanup(crm.Close)
		user, password := b.site.Credentials()
		require.NoError(t, os.WriteFile(filepath.Join(folder, b.name+".env"), []byte(strings.Join([]string{
			"SPILLWAY_ACCESS_KEYS=" + b.key(), "SPILLWAY_CRM_URL=" + crm.URL, "SPILLWAY_CRM_TOKEN=crm-token-of-" + b.name, "SPILLWAY_CRM_RATE=1000",
			"SPILLWAY_SITE_URL=" + b.site.URL(), "SPILLWAY_SITE_USER=" + user, "SPILLWAY_SITE_APP_PASSWORD='" + password + "'",
			"SPILLWAY_RETURN_PASSWORD_FIELD=wp_password",
		}, "\n")), 0o600))
	}
	redis := redistest.Start(t)
	webhooks, admin, health := freeAddr(t), freeAddr(t), freeAddr(t)
	env := map[string]string{
		"SPILLWAY_REDIS_URL": redis.URL(), "SPILLWAY_SITES": folder, "SPILLWAY_SECRET_KEY": secretKey, "SPILLWAY_LOG_LEVEL": "debug",
		"SPILLWAY_INGEST_ADDR": webhooks, "SPILLWAY_ADMIN_ADDR": admin, "SPILLWAY_WORKER_ADDR": health,
	}
	ingest, worker := launch(t, "ingest", env), launch(t, "worker", env)
	for _, addr := range []string{admin, health} {
		require.Eventually(t, func() bool {
			status, _ := get(t.Context(), "http://"+addr+"/readyz")
			return status == http.StatusOK
		}, 30*time.Second, 20*time.Millisecond, "%s is not well", addr)
	}
	ask := func(b *branch, action string, id int) string {
		t.Helper()
		status, body := get(t.Context(), fmt.Sprintf("http://%s/?wpf_action=%s&contact_id=%d&access_key=%s&send_notification=true&wait=30", webhooks, action, id, b.key()))
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, body, `"status":"synced"`)
		return body
	}
	var senders sync.WaitGroup
	for _, b := range branches {
		senders.Go(func() {
			for id := 1; id <= contacts; id++ {
				_, _ = get(t.Context(), fmt.Sprintf("http://%s/?wpf_action=add&contact_id=%d&access_key=%s&send_notification=true&wait=30", webhooks, id, b.key()))
			}
		})
	}
	senders.Wait()
	for _, b := range branches {
		for id := 1; id <= contacts; id++ {
			ask(b, "add", id) // whatever became of the first
		}
	}
	// One site goes on alone: what happens to its contact is not the other's.
	branches[0].crm.Put("1", map[string]any{"email": branches[0].email(1), "first_name": "Renamed"}, []int{branches[0].tag})
	ask(branches[0], "update", 1)

	logs := ingest.log.String() + worker.log.String()
	for i, b := range branches {
		other := branches[1-i]
		for id := 1; id <= contacts; id++ {
			users := b.site.UsersByContact(strconv.Itoa(id))
			require.Len(t, users, 1)
			require.Equal(t, b.email(id), users[0].Email)
			require.Equal(t, fmt.Sprintf(`a:1:{i:0;s:4:"%d";}`, b.tag), users[0].RawTags)
			require.Empty(t, other.site.UsersByEmail(b.email(id)))
			require.Empty(t, other.site.Mails(b.email(id)))
			require.Len(t, b.site.Mails(b.email(id)), 1)
			record, _ := b.crm.Contact(strconv.Itoa(id))
			theirs, _ := other.crm.Contact(strconv.Itoa(id))
			password, _ := record["wp_password"].(string)
			require.NotEmpty(t, password)
			require.NotEqual(t, password, theirs["wp_password"])
			require.True(t, b.site.PasswordWorks(users[0].Login, password))
			require.NotContains(t, logs, password)
			require.NotContains(t, other.everything()+other.site.Log(), password)
		}
		everything := b.everything()
		require.Contains(t, everything, b.email(1), "the search looked at what there is")
		for _, mark := range []string{other.name, strconv.Itoa(other.tag), "Of" + other.name} {
			require.NotContains(t, everything, mark, "the site of %s", b.name)
		}
		for _, secret := range []string{b.key(), "crm-token-of-" + b.name, b.name + ".example.org", "Of" + b.name} {
			require.NotContains(t, logs, secret)
		}

		var view struct {
			Timeline []struct{ Action, Kind string }
		}
		status, body := get(t.Context(), "http://"+admin+"/api/v1/contacts/1?site="+b.name)
		require.Equal(t, http.StatusOK, status, body)
		require.NoError(t, json.Unmarshal([]byte(body), &view))
		updates := 0
		for _, event := range view.Timeline {
			if event.Action == "update" {
				updates++
			}
		}
		require.Equal(t, 1-i, updates, "the timeline of %s: %s", b.name, body)
	}
	require.Equal(t, "Renamed", branches[0].site.UsersByContact("1")[0].Meta["first_name"])
	require.Equal(t, "Ofchoir", branches[1].site.UsersByContact("1")[0].Meta["first_name"])
	passes := 0
	for line := range strings.Lines(logs) {
		var entry struct{ Message, Contact, Site string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "pass ended" {
			passes++
			require.Regexp(t, `^(bakery|choir):[1-4]$`, entry.Contact)
		}
	}
	require.GreaterOrEqual(t, passes, 4*contacts+1)
	keys, err := redis.Client().Keys(t.Context(), "*{spillway}*").Result()
	require.NoError(t, err)
	require.Empty(t, keys, "nothing belongs to a site that there is not")
	ingest.stop(t)
	worker.stop(t)
}
