package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/assembly"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/sitetest"
)

// user returns the one user of a contact.
func (s *stack) user(t *testing.T, id int) sitetest.User {
	t.Helper()
	users := s.site.UsersByContact(strconv.Itoa(id))
	require.Len(t, users, 1)
	return users[0]
}

func TestPrograms(t *testing.T) {
	t.Parallel()
	s := start(t, nil)

	t.Run("add creates one user with fields, tags and role, and the password in the CRM logs in", func(t *testing.T) {
		s.put(1, map[string]any{"email": email(1), "first_name": "First", "last_name": "Last", "company": "C & \\ Co"}, 24, 74)
		s.webhook(t, "add", 1, "role", "customer", "send_notification", "true")
		s.settle(t, 1, "idle")
		user := s.user(t, 1)
		require.Equal(t, email(1), user.Email)
		require.Equal(t, email(1), user.Login)
		require.Equal(t, []string{"customer"}, user.Roles)
		require.Equal(t, "First", user.Meta["first_name"])
		require.Equal(t, "C & \\ Co", user.Meta["billing_company"])
		require.Equal(t, `a:2:{i:0;s:2:"24";i:1;s:2:"74";}`, user.RawTags)
		password := s.field(t, 1, "wp_password")
		require.NotEmpty(t, password)
		require.True(t, s.site.PasswordWorks(user.Login, password))
		require.Equal(t, user.Login, s.field(t, 1, "wp_login"))
		require.Equal(t, strconv.FormatInt(user.ID, 10), s.field(t, 1, "wp_id"))
		require.Len(t, s.site.Mails(email(1)), 1)

		s.webhook(t, "add", 1, "role", "customer", "send_notification", "true")
		s.settle(t, 1, "idle")
		require.Equal(t, user.ID, s.user(t, 1).ID)
		require.Equal(t, password, s.field(t, 1, "wp_password"))
		require.True(t, s.site.PasswordWorks(user.Login, password))
		require.Len(t, s.site.Mails(email(1)), 1, "the welcome mail goes out once")
	})

	t.Run("add of another contact with the same email makes no second user", func(t *testing.T) {
		s.put(2, map[string]any{"email": email(1), "first_name": "Merged"}, 5)
		s.webhook(t, "add", 2)
		s.settle(t, 2, "idle")
		require.Len(t, s.site.UsersByEmail(email(1)), 1)
		require.Equal(t, "Merged", s.user(t, 2).Meta["first_name"])
		require.Empty(t, s.field(t, 2, "wp_password"), "no user was created, so no password is returned")
	})

	t.Run("update and update_tags", func(t *testing.T) {
		s.put(3, map[string]any{"email": email(3), "first_name": "Before"}, 1)
		s.webhook(t, "add", 3)
		s.settle(t, 3, "idle")
		s.put(3, map[string]any{"email": email(3), "first_name": "After"}, 2, 3)
		s.webhook(t, "update_tags", 3)
		s.settle(t, 3, "idle")
		user := s.user(t, 3)
		require.Equal(t, "Before", user.Meta["first_name"], "update_tags leaves fields alone")
		require.Equal(t, `a:2:{i:0;s:1:"2";i:1;s:1:"3";}`, user.RawTags)
		s.webhook(t, "update", 3)
		s.settle(t, 3, "idle")
		require.Equal(t, "After", s.user(t, 3).Meta["first_name"])
	})

	t.Run("update of an unknown contact creates nobody", func(t *testing.T) {
		s.put(4, map[string]any{"email": email(4)})
		s.webhook(t, "update", 4)
		s.webhook(t, "update_tags", 4)
		s.settle(t, 4, "idle")
		require.Empty(t, s.site.UsersByEmail(email(4)))
	})

	t.Run("roles", func(t *testing.T) {
		for id, test := range map[int]struct{ asked, got string }{
			11: {"Customer", "customer"},
			12: {"administrator", "subscriber"},
			13: {"Administrator", "subscriber"},
			14: {"no-such-role", "subscriber"},
			15: {"editor", "subscriber"},
			16: {"", "subscriber"},
		} {
			s.put(id, map[string]any{"email": email(id)})
			s.webhook(t, "add", id, "role", test.asked)
			s.settle(t, id, "idle")
			require.Equal(t, []string{test.got}, s.user(t, id).Roles, "role %q", test.asked)
		}
		s.webhook(t, "update", 11, "role", "administrator")
		s.settle(t, 11, "idle")
		require.Equal(t, []string{"customer"}, s.user(t, 11).Roles)
		s.webhook(t, "update", 11, "role", "subscriber")
		s.settle(t, 11, "idle")
		require.Equal(t, []string{"subscriber"}, s.user(t, 11).Roles)
	})

	t.Run("user name and password from the contact's own fields", func(t *testing.T) {
		s.put(21, map[string]any{"email": email(21), "username": "chosen-name", "own_password": "chosen \\ 'pass'"})
		s.webhook(t, "add", 21)
		s.settle(t, 21, "idle")
		require.Equal(t, "chosen-name", s.user(t, 21).Login)
		require.True(t, s.site.PasswordWorks("chosen-name", "chosen \\ 'pass'"))
		require.Empty(t, s.field(t, 21, "wp_password"), "only generated passwords are returned")

		s.put(22, map[string]any{"email": email(22), "username": "chosen-name"})
		s.webhook(t, "add", 22)
		require.Equal(t, "user_login_taken", s.settle(t, 22, "parked"))
		s.put(22, map[string]any{"email": email(22), "username": "other-name"})
		s.webhook(t, "update", 22)
		s.settle(t, 22, "idle")
		require.Equal(t, "other-name", s.user(t, 22).Login, "the parked add is made up for")
	})

	t.Run("a contact without an email is parked with the reason", func(t *testing.T) {
		s.put(31, map[string]any{"first_name": "Nobody"})
		s.webhook(t, "add", 31)
		require.Equal(t, "no_email", s.settle(t, 31, "parked"))
		s.webhook(t, "add", 32) // the CRM does not know it
		require.Equal(t, "contact_not_found", s.settle(t, 32, "parked"))
	})

	t.Run("an add that waits is answered when the CRM holds the password", func(t *testing.T) {
		s.put(33, map[string]any{"email": email(33), "first_name": "Waited"})
		status, body := s.ask(t, "add", 33, "role", "customer")
		require.Equal(t, http.StatusOK, status)
		user := s.user(t, 33)
		require.JSONEq(t, fmt.Sprintf(`{"status":"synced","contact_id":"33","action":"add","outcome":"created","user_id":%d,"role":"customer","password_returned":true,"notes":[]}`, user.ID), body)
		require.True(t, s.site.PasswordWorks(user.Login, s.field(t, 33, "wp_password")))

		s.put(33, map[string]any{"email": email(33), "first_name": "Waited again"})
		_, body = s.ask(t, "update", 33)
		require.Contains(t, body, `"outcome":"updated"`)
		require.Equal(t, "Waited again", s.user(t, 33).Meta["first_name"])

		s.put(34, map[string]any{"first_name": "Nobody"})
		status, body = s.ask(t, "add", 34)
		require.Equal(t, http.StatusUnprocessableEntity, status)
		require.Contains(t, body, `{"status":"parked","contact_id":"34","error":{"code":"no_email","message":"`)
		require.NotContains(t, body, "@")
	})

	t.Run("1,000 webhooks for one contact cause few passes and the last edit wins", func(t *testing.T) {
		s.put(41, map[string]any{"email": email(41), "version": "0"})
		s.webhook(t, "add", 41)
		s.settle(t, 41, "idle")
		before := s.stats(t)
		var senders sync.WaitGroup
		var version struct {
			sync.Mutex
			n int
		}
		for range 8 {
			senders.Go(func() {
				for range 125 {
					version.Lock()
					version.n++
					s.put(41, map[string]any{"email": email(41), "version": strconv.Itoa(version.n)}, version.n)
					version.Unlock()
					if status, body := s.send(t, "update", 41); status != http.StatusOK {
						t.Errorf("status %d: %s", status, body)
					}
				}
			})
		}
		senders.Wait()
		s.settle(t, 41, "idle")
		user := s.user(t, 41)
		require.Equal(t, "1000", user.Meta["version"])
		require.Equal(t, `a:1:{i:0;s:4:"1000";}`, user.RawTags)
		after := s.stats(t)
		require.Equal(t, 1000, after["received"]-before["received"])
		passes := after["synced"] - before["synced"]
		require.Less(t, passes, 200)
		t.Logf("1,000 webhooks, %d passes", passes)
	})

	t.Run("a burst over many contacts ends equal to the CRM", func(t *testing.T) {
		const first, count = 1000, 60
		for id := first; id < first+count; id++ {
			s.put(id, map[string]any{"email": email(id), "version": "1"}, id)
			s.webhook(t, "add", id)
			s.webhook(t, "update", id)
		}
		for id := first; id < first+count; id++ {
			s.settle(t, id, "idle")
			user := s.user(t, id)
			require.Equal(t, fmt.Sprintf(`a:1:{i:0;s:4:"%d";}`, id), user.RawTags)
		}
		for id := first; id < first+count; id += 20 {
			require.True(t, s.site.PasswordWorks(email(id), s.field(t, id, "wp_password")))
		}
	})

	t.Run("the programs stop cleanly and their logs hold no secret and no address", func(t *testing.T) {
		s.ingest.stop(t)
		s.worker.stop(t)
		_, appPassword := s.site.Credentials()
		for _, id := range []int{1, 3, 11, 41, 1000} {
			secret := containsAny(s.logs(), s.field(t, id, "wp_password"), email(id))
			require.Empty(t, secret)
		}
		require.Empty(t, containsAny(s.logs(), accessKey, crmToken, secretKey, appPassword, "example.org", "chosen", "Merged"))
		require.Contains(t, s.worker.log.String(), `"message":"pass ended"`, "the log was captured")
	})
}

func TestWebhookDuringAPassCausesAnotherPass(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.put(1, map[string]any{"email": email(1), "version": "1"})
	s.webhook(t, "add", 1)
	s.settle(t, 1, "idle")

	// The second edit comes when the pass has read the record and is to store it.
	s.crm.SetLatency(500 * time.Millisecond)
	before := s.crm.Stats().Calls["contact"]
	s.put(1, map[string]any{"email": email(1), "version": "2"})
	s.webhook(t, "update", 1)
	polltest.Until(t, 30*time.Second, func() bool {
		stats := s.crm.Stats()
		return stats.Calls["contact"] > before && stats.InFlight == 0
	}, "the record is read")
	s.put(1, map[string]any{"email": email(1), "version": "3"})
	s.webhook(t, "update", 1)
	s.settle(t, 1, "idle")
	require.Equal(t, "3", s.user(t, 1).Meta["version"])
}

func TestOutagesHoldContactsBackAndLoseNothing(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.put(1, map[string]any{"email": email(1)}, 7)
	s.site.StopPHP()
	s.webhook(t, "add", 1)
	require.Equal(t, "outage", s.settle(t, 1, "retrying"))
	s.site.StartPHP()
	s.settle(t, 1, "idle")
	require.True(t, s.site.PasswordWorks(email(1), s.field(t, 1, "wp_password")))

	s.redis.Kill()
	request := url.Values{"wpf_action": {"update"}, "access_key": {accessKey}, "contact_id": {"1"}}
	status, body := get(t.Context(), s.webhooks+"/?"+request.Encode())
	require.Equal(t, http.StatusServiceUnavailable, status, body)
	s.redis.Restart()
	s.put(1, map[string]any{"email": email(1), "first_name": "Back"}, 7)
	require.Eventually(t, func() bool {
		status, _ = get(t.Context(), s.webhooks+"/?"+request.Encode())
		return status == http.StatusOK
	}, 30*time.Second, 100*time.Millisecond)
	polltest.Until(t, 90*time.Second, func() bool {
		return s.user(t, 1).Meta["first_name"] == "Back"
	}, "the user shows the edit")
}

func TestWrongSettingsAreAllNamedBeforeAnythingListens(t *testing.T) {
	t.Parallel()
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	for program, test := range map[string]struct {
		env   map[string]string
		names []string
	}{
		"ingest": {
			map[string]string{"SPILLWAY_REDIS_URL": "http://x", "SPILLWAY_ADMIN_ADDR": "0.0.0.0:1", "SPILLWAY_LOG_LEVEL": "loud"},
			[]string{"SPILLWAY_REDIS_URL", "SPILLWAY_ACCESS_KEYS", "SPILLWAY_ADMIN_PASSWORD", "SPILLWAY_LOG_LEVEL"},
		},
		"worker": {
			map[string]string{"SPILLWAY_SITE_URL": "htp://x", "SPILLWAY_FIELDS": "a", "SPILLWAY_CRM_RATE": "fast", "SPILLWAY_SECRET_KEY": "hunter2-not-base64", "SPILLWAY_RETURN_PASSWORD_FIELD": "x"},
			[]string{"SPILLWAY_SITE_URL", "SPILLWAY_FIELDS", "SPILLWAY_CRM_RATE", "SPILLWAY_CRM_URL", "SPILLWAY_SECRET_KEY", "SPILLWAY_SITE_USER"},
		},
	} {
		p := launch(t, program, test.env)
		select {
		case err := <-p.done:
			require.Error(t, err)
		case <-time.After(20 * time.Second):
			require.Fail(t, program+" started with wrong settings")
		}
		require.Equal(t, assembly.ExitSettings, p.cmd.ProcessState.ExitCode(), p.log)
		for _, name := range test.names {
			require.Contains(t, p.log.String(), name)
		}
		require.NotContains(t, p.log.String(), "hunter2")
		require.NotContains(t, strings.ToLower(p.log.String()), "panic")
	}
}
