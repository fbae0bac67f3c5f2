package admin_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/lab/browsertest"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/pending/shard"
)

const webhookKey = "a-long-access-key"

// installation is ingest and a worker before the stand-ins.
type installation struct {
	stand           *sandbox.Running
	rdb             *redis.Client
	webhooks, admin string
}

func install(t *testing.T) *installation {
	t.Helper()
	stand, err := sandbox.Serve(sandbox.Options{
		CRM:  sandbox.CRMOptions{Token: "a-token", Latency: 20 * time.Millisecond},
		Site: sandbox.SiteOptions{User: "spillway", AppPassword: "an app password"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	server := redistest.Start(t)
	key := "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	i := &installation{stand: stand, rdb: server.Client(), webhooks: freeAddr(t), admin: freeAddr(t)}
	settings, err := config.Load(config.All, nil, []string{
		"SPILLWAY_REDIS_URL=" + server.URL(), "SPILLWAY_ACCESS_KEYS=" + webhookKey,
		"SPILLWAY_CRM_URL=" + stand.CRMURL, "SPILLWAY_CRM_TOKEN=a-token", "SPILLWAY_CRM_RATE=200",
		"SPILLWAY_SITE_URL=" + stand.SiteURL, "SPILLWAY_SITE_USER=spillway", "SPILLWAY_SITE_APP_PASSWORD=an app password",
		"SPILLWAY_RETURN_PASSWORD_FIELD=wp_password", "SPILLWAY_SECRET_KEY=" + key, "SPILLWAY_SEARCH_KEY=" + key,
		"SPILLWAY_ADMIN_PASSWORD=" + password,
		"SPILLWAY_INGEST_ADDR=" + i.webhooks, "SPILLWAY_ADMIN_ADDR=" + i.admin, "SPILLWAY_WORKER_ADDR=" + freeAddr(t),
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	var group errgroup.Group
	group.Go(func() error { return assembly.Ingest(ctx, settings, zerolog.Nop()) })
	group.Go(func() error { return assembly.Worker(ctx, settings, zerolog.Nop()) })
	t.Cleanup(func() { stop(); require.NoError(t, group.Wait()) })
	require.Eventually(t, func() bool {
		response, err := http.Get("http://" + i.admin + "/readyz")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, 60*time.Second, 20*time.Millisecond)
	return i
}

func freeAddr(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// webhook sends one as the CRM does.
func (i *installation) webhook(t *testing.T, key, action string, id int) int {
	t.Helper()
	response, err := http.Get(fmt.Sprintf("http://%s/?wpf_action=%s&access_key=%s&contact_id=%d", i.webhooks, action, key, id))
	require.NoError(t, err)
	defer response.Body.Close()
	return response.StatusCode
}

// TestInABrowser does what an administrator does, in Debian's Chromium, with
// ingest and a worker before the stand-ins. SPILLWAY_SCREENSHOTS names a folder
// for the pictures in deploy/screenshots.
func TestInABrowser(t *testing.T) {
	t.Parallel()
	i := install(t)
	c := browsertest.Start(t, "http://"+i.admin)
	i.stand.CRM.Seed(400)
	if c.Pictures() {
		i.inventPast(t)
	}
	const outstanding = "Number(document.getElementById('outstanding')?.textContent.replaceAll(',', ''))"

	// Signing in, after a wrong password.
	c.Open("/parked")
	c.TypeInto("#password", "wrong"+"\r")
	c.Has("That is not the password.")
	c.TypeInto("#password", password+"\r")
	c.Eventually("location.pathname === '/parked' && document.querySelector('h1').textContent === 'Parked contacts'")
	c.Press("\t")
	c.Eventually("document.activeElement.className === 'skip'")

	// A burst comes in while work is paused, and drains before one's eyes.
	c.Click(`nav a[href="/"]`)
	c.Eventually("document.getElementById('live-mark').className === 'on'")
	c.Click("#pause")
	c.Has("Paused. Webhooks are taken")
	result, err := sandbox.Burst(t.Context(), sandbox.BurstOptions{URL: "http://" + i.webhooks, Key: webhookKey, Webhooks: 1200, Contacts: 400, Connections: 10})
	require.NoError(t, err)
	require.Equal(t, 1200, result.Accepted)
	i.stand.CRM.Put("900", map[string]any{"first_name": "Nobody"}, []int{3})
	require.Equal(t, http.StatusOK, i.webhook(t, webhookKey, "add", 900))
	for range 7 {
		require.Equal(t, http.StatusForbidden, i.webhook(t, "not-the-key-at-all", "add", 1))
	}
	c.Eventually(outstanding + " === 401")
	c.Click("#resume")
	c.Has("Draining:")
	c.Eventually(outstanding + " > 0 && " + outstanding + " < 400")
	if c.Pictures() { // later the pace has settled
		c.Eventually(outstanding + " < 250")
	}
	c.Picture("now")
	c.Show(1280, 900, "dark")
	c.Picture("now-dark")
	c.Show(390, 844, "light")
	c.Eventually("document.documentElement.scrollWidth <= 390")
	c.Picture("phone")
	c.Show(1280, 900, "light")
	c.Eventually(outstanding + " === 0")
	c.Has("1 parked: a pass failed for good")
	c.Has("invalid_access_key")
	c.Eventually("document.getElementById('live-replicas').innerText.includes('worker')")

	// A contact by its id, and by its address; it is synced again.
	c.TypeInto("#q", "17\r")
	c.Eventually("location.pathname === '/contacts/17'")
	c.Open("/")
	c.TypeInto("#q", "Contact17@example.com\r")
	c.Eventually("location.pathname === '/contacts/17'")
	c.Eventually("document.querySelectorAll('.timeline .good').length > 0")
	before := c.Number("document.querySelectorAll('.timeline .good').length")
	c.Click("#sync-now")
	c.Has("The contact is queued")
	c.Eventually("document.querySelectorAll('.timeline .good').length > " + strconv.Itoa(before))
	c.Click(".timeline summary")
	c.Show(1280, 720, "light")
	c.Picture("contact")
	c.Eventually(fmt.Sprintf("document.querySelector('.links a').href === %q", i.stand.CRMURL+"/crm/contact/17/edit"))

	// The parked contact gets an address in the CRM and another try.
	c.Click(`nav a[href="/parked"]`)
	c.Has("no_email")
	i.stand.CRM.Put("900", map[string]any{"email": "somebody@example.org"}, []int{3})
	c.Click("#retry-900")
	c.Has("1 contact queued again.")
	c.Open("/contacts/900")
	c.Has("nothing is outstanding")
	require.Len(t, i.stand.Site.UsersByEmail("somebody@example.org"), 1)
	c.Eventually("document.querySelector('.timeline').innerText.includes('password returned to the CRM')")

	c.Open("/replicas")
	c.Has("SPILLWAY_ADMIN_PASSWORD")
	c.Show(390, 844, "dark")
	for _, path := range []string{"/", "/parked", "/contacts/17", "/replicas"} {
		c.Open(path)
		c.Eventually("document.documentElement.scrollWidth <= 390")
	}

	c.Click("#sign-out")
	c.Eventually("location.pathname === '/login'")
	c.Open("/contacts/17")
	c.Eventually("location.pathname === '/login'")
	require.Empty(t, c.Complaints(), "the browser complains of nothing, a forbidden script or style included")
}

// inventPast gives the chart of the pictures a past: a morning's traffic, as
// the programs would have counted it.
func (i *installation) inventPast(t *testing.T) {
	t.Helper()
	now, err := i.rdb.Time(t.Context()).Result()
	require.NoError(t, err)
	for ago := int64(5); ago < 180; ago++ {
		minute := now.Unix()/60 - ago
		received := int(30 + 14*math.Sin(float64(ago)/9) + float64(ago*37%11))
		synced := received * 2 / 3
		if ago > 70 && ago < 76 { // a bulk edit, and its draining
			received += 380
		}
		if ago > 58 && ago < 76 {
			synced += 62
		}
		key := shard.Counts("spillway") + "m:" + strconv.FormatInt(minute/60, 10)
		field := strconv.FormatInt(minute%60, 10)
		require.NoError(t, i.rdb.HSet(t.Context(), key, field+":received", received, field+":coalesced", received/4,
			field+":synced", synced, field+":delay", synced*2100).Err())
		require.NoError(t, i.rdb.Expire(t.Context(), key, 24*time.Hour).Err())
	}
}
