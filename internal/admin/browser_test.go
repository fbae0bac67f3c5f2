package admin_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	browserlog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"spillway/internal/assembly"
	"spillway/internal/config"
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

// chromium is a real browser with one tab.
type chromium struct {
	t       *testing.T
	ctx     context.Context
	address string
	folder  string // for pictures; empty: none are taken

	mu         sync.Mutex
	complaints []string
}

func startChromium(t *testing.T, address string) *chromium {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		const remedy = "chromium is not on the PATH: install Debian's package chromium"
		if os.Getenv("CI") != "" {
			t.Fatal(remedy)
		}
		t.Skip(remedy)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("no-sandbox", true), chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true),
	)
	timed, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	allocator, stop := chromedp.NewExecAllocator(timed, options...)
	t.Cleanup(stop)
	tab, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
	c := &chromium{t: t, ctx: tab, address: address, folder: os.Getenv("SPILLWAY_SCREENSHOTS")}
	require.NoError(t, chromedp.Listen(tab, c.hear))
	dialogs := chromedp.Events(tab, page.JavascriptDialogOpening)
	go func() { // the person says yes
		for _, err := range dialogs {
			if err != nil {
				return
			}
			_, _ = chromedp.Call(tab, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
		}
	}()
	c.show(1280, 900, "light")
	return c
}

// hear collects what the browser's console says, refused styles and scripts
// included.
func (c *chromium) hear(event any) {
	complaint := ""
	switch e := event.(type) {
	case *browserlog.EventEntryAdded:
		// The answer to a wrong password is one that the browser remarks on.
		if e.Entry.Level == browserlog.EntryLevelError && e.Entry.URL != c.address+"/login" {
			complaint = string(e.Entry.Source) + ": " + e.Entry.Text + " " + e.Entry.URL
		}
	case *runtime.EventConsoleAPICalled:
		complaint = "console." + string(e.Type)
	case *runtime.EventExceptionThrown:
		complaint = "exception: " + e.ExceptionDetails.Text
	}
	if complaint != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.complaints = append(c.complaints, complaint)
	}
}

func (c *chromium) show(width, height int64, scheme string) {
	c.t.Helper()
	require.NoError(c.t, chromedp.Do(c.ctx, chromedp.EmulateViewport(width, height)))
	_, err := chromedp.Call(c.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	require.NoError(c.t, err)
}

func (c *chromium) open(path string) {
	c.t.Helper()
	require.NoError(c.t, chromedp.Do(c.ctx, chromedp.Navigate(c.address+path)))
}

func (c *chromium) click(selector string) {
	c.t.Helper()
	require.NoError(c.t, chromedp.Do(c.ctx, chromedp.Click(chromedp.CSS(selector))), selector)
}

func (c *chromium) typeInto(selector, text string) {
	c.t.Helper()
	require.NoError(c.t, chromedp.Do(c.ctx, chromedp.SendKeys(chromedp.CSS(selector), text)), selector)
}

// eventually waits, without loading the page anew, until an expression is true.
func (c *chromium) eventually(expression string) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		is, err := chromedp.Run(c.ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		return err == nil && is // while a page loads there is no answer
	}, 90*time.Second, 50*time.Millisecond, "never true: %s", expression)
}

func (c *chromium) has(text string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// picture takes one of what is seen, if pictures are asked for.
func (c *chromium) picture(name string) {
	c.t.Helper()
	if c.folder == "" {
		return
	}
	image, err := chromedp.Run(c.ctx, chromedp.CaptureScreenshot())
	require.NoError(c.t, err)
	require.NoError(c.t, os.WriteFile(filepath.Join(c.folder, name+".png"), image, 0o644))
}

// TestInABrowser does what an administrator does, in Debian's Chromium, with
// ingest and a worker before the stand-ins. SPILLWAY_SCREENSHOTS names a folder
// for the pictures in deploy/screenshots.
func TestInABrowser(t *testing.T) {
	t.Parallel()
	i := install(t)
	c := startChromium(t, "http://"+i.admin)
	i.stand.CRM.Seed(400)
	if c.folder != "" {
		i.inventPast(t)
	}
	const outstanding = "Number(document.getElementById('outstanding')?.textContent.replaceAll(',', ''))"

	// Signing in, after a wrong password.
	c.open("/parked")
	c.typeInto("#password", "wrong"+"\r")
	c.has("That is not the password.")
	c.typeInto("#password", password+"\r")
	c.eventually("location.pathname === '/parked' && document.querySelector('h1').textContent === 'Parked contacts'")
	require.NoError(t, chromedp.Do(c.ctx, chromedp.KeyEvent("\t")))
	c.eventually("document.activeElement.className === 'skip'")

	// A burst comes in while work is paused, and drains before one's eyes.
	c.click(`nav a[href="/"]`)
	c.eventually("document.getElementById('live-mark').className === 'on'")
	c.click("#pause")
	c.has("Paused. Webhooks are taken")
	result, err := sandbox.Burst(t.Context(), sandbox.BurstOptions{URL: "http://" + i.webhooks, Key: webhookKey, Webhooks: 1200, Contacts: 400, Connections: 10})
	require.NoError(t, err)
	require.Equal(t, 1200, result.Accepted)
	i.stand.CRM.Put("900", map[string]any{"first_name": "Nobody"}, []int{3})
	require.Equal(t, http.StatusOK, i.webhook(t, webhookKey, "add", 900))
	for range 7 {
		require.Equal(t, http.StatusForbidden, i.webhook(t, "not-the-key-at-all", "add", 1))
	}
	c.eventually(outstanding + " === 401")
	c.click("#resume")
	c.has("Draining:")
	c.eventually(outstanding + " > 0 && " + outstanding + " < 400")
	if c.folder != "" { // later the pace has settled
		c.eventually(outstanding + " < 250")
	}
	c.picture("now")
	c.show(1280, 900, "dark")
	c.picture("now-dark")
	c.show(390, 844, "light")
	c.eventually("document.documentElement.scrollWidth <= 390")
	c.picture("phone")
	c.show(1280, 900, "light")
	c.eventually(outstanding + " === 0")
	c.has("1 parked: a pass failed for good")
	c.has("invalid_access_key")
	c.eventually("document.getElementById('live-replicas').innerText.includes('worker')")

	// A contact by its id, and by its address; it is synced again.
	c.typeInto("#q", "17\r")
	c.eventually("location.pathname === '/contacts/17'")
	c.open("/")
	c.typeInto("#q", "Contact17@example.com\r")
	c.eventually("location.pathname === '/contacts/17'")
	c.eventually("document.querySelectorAll('.timeline .good').length > 0")
	before, err := chromedp.Run(c.ctx, chromedp.Evaluate[int]("document.querySelectorAll('.timeline .good').length"))
	require.NoError(t, err)
	c.click("#sync-now")
	c.has("The contact is queued")
	c.eventually("document.querySelectorAll('.timeline .good').length > " + strconv.Itoa(before))
	c.click(".timeline summary")
	c.show(1280, 720, "light")
	c.picture("contact")
	c.eventually(fmt.Sprintf("document.querySelector('.links a').href === %q", i.stand.CRMURL+"/crm/contact/17/edit"))

	// The parked contact gets an address in the CRM and another try.
	c.click(`nav a[href="/parked"]`)
	c.has("no_email")
	i.stand.CRM.Put("900", map[string]any{"email": "somebody@example.org"}, []int{3})
	c.click("#retry-900")
	c.has("1 contact queued again.")
	c.open("/contacts/900")
	c.has("nothing is outstanding")
	require.Len(t, i.stand.Site.UsersByEmail("somebody@example.org"), 1)
	c.eventually("document.querySelector('.timeline').innerText.includes('password returned to the CRM')")

	c.open("/replicas")
	c.has("SPILLWAY_ADMIN_PASSWORD")
	c.show(390, 844, "dark")
	for _, path := range []string{"/", "/parked", "/contacts/17", "/replicas"} {
		c.open(path)
		c.eventually("document.documentElement.scrollWidth <= 390")
	}

	c.click("#sign-out")
	c.eventually("location.pathname === '/login'")
	c.open("/contacts/17")
	c.eventually("location.pathname === '/login'")
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Empty(t, c.complaints, "the browser complains of nothing, a forbidden script or style included")
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
