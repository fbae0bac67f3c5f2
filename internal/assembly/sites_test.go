package assembly

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/config"
	"spillway/internal/lab/freeport"
	"spillway/internal/lab/logtest"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
)

const agencySecret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// agency is an installation of several sites, running in this process.
type agency struct {
	observed

	folder string
	redis  *redistest.Server
	sites  map[string]*agencySite
}

// agencySite is a site with a CRM account of its own.
type agencySite struct {
	key   string
	crm   *sandbox.CRM
	site  *sandbox.Site
	lines []string // of its file
}

// add starts the stand-ins of a site and writes its file.
func (a *agency) add(t *testing.T, name string) *agencySite {
	t.Helper()
	one := &agencySite{
		key: "access-key-of-" + name, crm: sandbox.NewCRM(sandbox.CRMOptions{Token: "crm-token-of-" + name}),
		site: sandbox.NewSite(sandbox.SiteOptions{StartCost: time.Millisecond, ContactCost: time.Millisecond}),
	}
	crm, site := httptest.NewServer(one.crm), httptest.NewServer(one.site)
	t.Cleanup(crm.Close)
	t.Cleanup(site.Close)
	t.Cleanup(one.crm.Close)
	t.Cleanup(one.site.Close)
	user, password := one.site.Credentials()
	one.lines = []string{
		"SPILLWAY_CRM_URL=" + crm.URL, "SPILLWAY_CRM_TOKEN=crm-token-of-" + name, "SPILLWAY_CRM_RATE=1000",
		"SPILLWAY_SITE_URL=" + site.URL, "SPILLWAY_SITE_USER=" + user, "SPILLWAY_SITE_APP_PASSWORD='" + password + "'",
		"SPILLWAY_RETURN_PASSWORD_FIELD=wp_password",
	}
	a.sites[name] = one
	a.write(t, name)
	return one
}

func (a *agency) write(t *testing.T, name string) {
	t.Helper()
	one := a.sites[name]
	text := strings.Join(append(one.lines, "SPILLWAY_ACCESS_KEYS="+one.key), "\n") + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(a.folder, name+".env"), []byte(text), 0o600))
}

func newAgency(t *testing.T) *agency {
	t.Helper()
	return &agency{
		observed: observed{webhooks: freeAddr(t), admin: freeAddr(t), worker: freeAddr(t), logs: &logtest.Log{}},
		folder:   t.TempDir(), redis: redistest.Start(t), sites: make(map[string]*agencySite),
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := freeport.Addr()
	require.NoError(t, err)
	return addr
}

// start runs ingest and a worker; hangUp makes both read the sites again.
func (a *agency) start(t *testing.T, change ...string) (hangUp func()) {
	t.Helper()
	environ := append([]string{
		"SPILLWAY_REDIS_URL=" + a.redis.URL(), "SPILLWAY_SITES=" + a.folder, "SPILLWAY_SECRET_KEY=" + agencySecret,
		"SPILLWAY_INGEST_ADDR=" + a.webhooks, "SPILLWAY_ADMIN_ADDR=" + a.admin, "SPILLWAY_WORKER_ADDR=" + a.worker,
	}, change...)
	ctx, cancel := context.WithCancel(t.Context())
	var programs sync.WaitGroup
	var signals []chan os.Signal
	for role, run := range map[config.Role]func(context.Context, config.Config, zerolog.Logger, <-chan os.Signal) error{
		config.Ingest: IngestIn, config.Worker: WorkerIn,
	} {
		settings, err := config.Load(role, nil, environ)
		require.NoError(t, err)
		log := zerolog.New(a.logs).Level(zerolog.DebugLevel)
		signal := make(chan os.Signal, 1)
		signals = append(signals, signal)
		programs.Go(func() {
			if err := run(ctx, settings, log, signal); err != nil {
				log.Error().Err(err).Msg("a program failed")
			}
		})
	}
	a.stop = sync.OnceFunc(func() { cancel(); programs.Wait() })
	t.Cleanup(a.stop)
	for _, addr := range []string{a.admin, a.worker} {
		polltest.Until(t, 30*time.Second, func() bool {
			status, _, _ := a.get(t, "http://"+addr+"/readyz")
			return status == http.StatusOK
		}, fmt.Sprintf("%s is not ready:\n%s", addr, a.logs))
	}
	return func() {
		for _, signal := range signals {
			signal <- os.Interrupt // of any kind
		}
	}
}

func (a *agency) call(t *testing.T, name, query string) (status int, body string) {
	t.Helper()
	status, _, body = a.get(t, "http://"+a.webhooks+"/?access_key="+a.sites[name].key+"&"+query)
	return status, body
}

// Two sites have contacts of the same ids, and nothing of one is ever on the other.
func TestSitesOfOneInstallationShareNothing(t *testing.T) {
	t.Parallel()
	a := newAgency(t)
	names := []string{"shop", "blog"}
	const contacts = 5
	for i, name := range names {
		one := a.add(t, name)
		for id := 1; id <= contacts; id++ {
			one.crm.Put(fmt.Sprint(id), map[string]any{
				"email": fmt.Sprintf("c%d@%s.example.org", id, name), "first_name": "Of" + name,
			}, []int{100*(i+1) + id})
		}
	}
	a.start(t)
	for id := 1; id <= contacts; id++ {
		for _, name := range names {
			status, body := a.call(t, name, fmt.Sprintf("wpf_action=add&contact_id=%d&wait=30", id))
			require.Equal(t, http.StatusOK, status, body)
			require.Contains(t, body, `"status":"synced"`)
			require.Contains(t, body, `"password_returned":true`)
		}
	}
	for i, name := range names {
		one, other := a.sites[name], names[1-i]
		for id := 1; id <= contacts; id++ {
			users := one.site.UsersByEmail(fmt.Sprintf("c%d@%s.example.org", id, name))
			require.Len(t, users, 1)
			user := users[0]
			require.Contains(t, user.RawTags, fmt.Sprint(100*(i+1)+id))
			require.NotContains(t, user.RawTags, fmt.Sprint(100*(2-i)+id))
			require.Empty(t, one.site.UsersByEmail(fmt.Sprintf("c%d@%s.example.org", id, other)))
			fields, _ := one.crm.Contact(fmt.Sprint(id))
			password, _ := fields["wp_password"].(string)
			require.NotEmpty(t, password)
			require.True(t, one.site.PasswordWorks(user.Login, password))
			require.Len(t, one.crm.Updates(fmt.Sprint(id)), 1)
		}
	}
	for _, line := range a.logs.Named("pass ended") {
		require.Contains(t, []any{"shop:1", "shop:2", "shop:3", "shop:4", "shop:5", "blog:1", "blog:2", "blog:3", "blog:4", "blog:5"}, line["contact"])
	}
	require.Len(t, a.logs.Named("pass ended"), 2*contacts)
	for _, secret := range []string{"access-key-of", "crm-token-of", "example.org"} {
		require.NotContains(t, a.logs.String(), secret)
	}
	keys, err := a.redis.Client().Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	for _, key := range keys {
		require.NotContains(t, key, "{spillway}", "nothing belongs to a site that there is not")
	}
	_, _, metrics := a.get(t, "http://"+a.worker+"/metrics")
	for _, name := range names {
		require.Contains(t, metrics, `spillway_passes_total{action="add",code="created",outcome="synced",site="`+name+`"} 5`)
	}
}

// A site whose breaker is open, and one that does not answer for long, keep no
// place that another needs.
func TestASiteInTroubleKeepsNobodyElseWaiting(t *testing.T) {
	t.Parallel()
	a := newAgency(t)
	const burst = 200
	for _, name := range []string{"away", "slow", "lone"} {
		one := a.add(t, name)
		one.crm.Seed(burst)
	}
	a.start(t, "SPILLWAY_WORKER_CONCURRENCY=6")
	require.NoError(t, a.sites["away"].site.GoDown())
	require.NoError(t, a.sites["slow"].site.Inject(sandbox.Fault{Mode: sandbox.FaultHang, For: time.Hour}))
	for id := 1; id <= burst; id++ {
		for _, name := range []string{"away", "slow"} {
			status, body := a.call(t, name, fmt.Sprintf("wpf_action=update&contact_id=%d", id))
			require.Equal(t, http.StatusOK, status, body)
		}
	}
	breaker := func() string { return a.redis.Client().HGet(t.Context(), "spw:{site.away}:breaker", "state").Val() }
	polltest.Until(t, 60*time.Second, func() bool { return breaker() == "open" }, "the breaker of the site that is away opens")
	for id := 1; id <= 20; id++ {
		status, body := a.call(t, "lone", fmt.Sprintf("wpf_action=add&contact_id=%d&wait=30", id))
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, body, `"status":"synced"`, "contact %d", id)
	}
	require.Zero(t, a.sites["slow"].site.Stats().Stored, "the slow site has answered nothing meanwhile")
}

// A burst of one site is hardly begun when the lone webhooks of another, which
// came after it, are done.
func TestABurstOfOneSiteLeavesTheOthersTheirTurn(t *testing.T) {
	t.Parallel()
	a := newAgency(t)
	const burst, lone = 1500, 10
	a.add(t, "burst").crm.Seed(burst)
	a.add(t, "lone").crm.Seed(lone)
	a.start(t, "SPILLWAY_WORKER_CONCURRENCY=6")
	for id := 1; id <= burst; id++ {
		status, body := a.call(t, "burst", fmt.Sprintf("wpf_action=update&contact_id=%d", id))
		require.Equal(t, http.StatusOK, status, body)
	}
	waiting := func() int64 { return a.redis.Client().ZCard(t.Context(), "spw:{spillway.burst}:due").Val() }
	before := waiting()
	require.Positive(t, before)
	for id := 1; id <= lone; id++ {
		status, body := a.call(t, "lone", fmt.Sprintf("wpf_action=add&contact_id=%d&wait=30", id))
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, body, `"status":"synced"`, "contact %d", id)
	}
	require.Greater(t, waiting(), before/2, "the burst goes on behind them")
}

// Sites come, change their key and go while others work; nothing of the others is
// refused or lost, and what waits for a site that has gone is there when it comes
// back.
func TestSitesComeChangeAndGoUnderLoad(t *testing.T) {
	t.Parallel()
	a := newAgency(t)
	steady := a.add(t, "steady")
	steady.crm.Seed(50)
	hangUp := a.start(t)
	var refused, sent atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			request, err := http.NewRequestWithContext(context.Background(), http.MethodGet,
				fmt.Sprintf("http://%s/?access_key=%s&wpf_action=update&contact_id=%d", a.webhooks, steady.key, n%50+1), nil)
			if err != nil {
				refused.Add(1)
				return
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil || response.StatusCode != http.StatusOK {
				refused.Add(1)
			}
			if err == nil {
				_ = response.Body.Close()
			}
			sent.Add(1)
		}
	})
	t.Cleanup(func() { stop(); load.Wait() })

	answers := func(name string, want int) func() bool {
		return func() bool {
			status, _ := a.call(t, name, "wpf_action=test")
			return status == want
		}
	}
	fresh := a.add(t, "fresh")
	fresh.crm.Seed(3)
	hangUp()
	polltest.Until(t, 30*time.Second, answers("fresh", http.StatusOK), "a new site is served")
	status, body := a.call(t, "fresh", "wpf_action=add&contact_id=1&wait=30")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"status":"synced"`)

	old := fresh.key
	fresh.key = "another-key-of-fresh"
	a.write(t, "fresh")
	hangUp()
	polltest.Until(t, 30*time.Second, answers("fresh", http.StatusOK), "the new key is accepted")
	status, _, _ = a.get(t, "http://"+a.webhooks+"/?wpf_action=test&access_key="+old)
	require.Equal(t, http.StatusForbidden, status, "the old key is not")

	// A file that is wrong changes nothing and is one error.
	require.NoError(t, os.WriteFile(filepath.Join(a.folder, "wrong.env"), []byte("SPILLWAY_ACCESS_KEYS="+steady.key+"\n"), 0o600))
	hangUp()
	polltest.Until(t, 30*time.Second, func() bool {
		return len(a.logs.Named("a changed file is not taken up, what was there before stays in force")) == 2
	}, "ingest and the worker complain")
	require.True(t, answers("fresh", http.StatusOK)())
	require.NoError(t, os.Remove(filepath.Join(a.folder, "wrong.env")))

	// The site goes with a contact that waits.
	require.NoError(t, fresh.site.GoDown())
	status, _ = a.call(t, "fresh", "wpf_action=add&contact_id=2")
	require.Equal(t, http.StatusOK, status)
	require.NoError(t, os.Remove(filepath.Join(a.folder, "fresh.env")))
	hangUp()
	polltest.Until(t, 30*time.Second, answers("fresh", http.StatusForbidden), "the site has gone")
	exists := func() int64 { return a.redis.Client().Exists(t.Context(), "spw:{spillway.fresh}:c:fresh:2").Val() }
	require.EqualValues(t, 1, exists(), "what waits for it is kept")
	fresh.site.ClearFaults()
	a.write(t, "fresh")
	hangUp()
	polltest.Until(t, 60*time.Second, func() bool { return exists() == 0 }, "and is done when the site is back")
	require.Len(t, fresh.site.UsersByContact("2"), 1)

	// It goes again and is dropped: nothing of it is left.
	taken := func() int {
		n := 0
		for _, line := range a.logs.Named("a changed file was taken up") {
			if line["what"] == "SPILLWAY_SITES" {
				n++
			}
		}
		return n
	}
	before := taken()
	require.NoError(t, os.Remove(filepath.Join(a.folder, "fresh.env")))
	hangUp()
	polltest.Until(t, 30*time.Second, func() bool { return taken() == before+2 }, "ingest and the worker have noticed")
	require.NoError(t, a.redis.Client().ZAdd(t.Context(), "spw:sites", redis.Z{Score: 1, Member: "fresh"}).Err(), "for long")
	response, err := http.Post("http://"+a.admin+"/api/v1/sites/fresh/drop?confirm=fresh", "", nil)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	left, err := a.redis.Client().Keys(t.Context(), "*fresh*").Result()
	require.NoError(t, err)
	require.Empty(t, left)
	require.NotContains(t, a.redis.Client().SMembers(t.Context(), "asynq:queues").Val(), "spillway.fresh")
	stop()
	load.Wait()
	require.Zero(t, refused.Load(), "of %d webhooks of the other site", sent.Load())
	require.Positive(t, sent.Load())
}
