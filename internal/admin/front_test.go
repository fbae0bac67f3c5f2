package admin_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/admin"
	"spillway/internal/admin/comparisons"
	"spillway/internal/admin/observations"
	"spillway/internal/admin/refusals"
	"spillway/internal/admin/roster"
	"spillway/internal/contact"
	"spillway/internal/lab/logtest"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
	"spillway/internal/pending/history"
	"spillway/internal/pending/shard"
	"spillway/internal/sites/gone"
	"spillway/internal/throttle"
)

// several is the admin address of an installation with sites that have contacts of
// the same ids.
type several struct {
	url      string
	rdb      redis.UniversalClient
	contacts map[string]*pending.Contacts
	front    atomic.Pointer[admin.Front]
	gone     *gone.Sites
	folder   string
	base     admin.Options
	log      *logtest.Log
}

const wholePassword = "the installation's password"

func ownPassword(site string) string { return "the password of " + site }

func newSeveral(t *testing.T, names ...string) *several {
	t.Helper()
	t.Parallel()
	rdb := redistest.Start(t).Client()
	s := &several{rdb: rdb, contacts: make(map[string]*pending.Contacts), folder: t.TempDir(), log: &logtest.Log{}}
	s.gone = gone.New(rdb, s.folder, func(site string) []string { return pending.KeysOf(site) })
	health := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") })
	s.base = admin.Options{Redis: rdb, Password: wholePassword, Health: health, Gone: s.gone, Log: zerolog.New(s.log)}
	for _, name := range names {
		s.contacts[name] = pending.New(rdb, pending.Options{Site: name})
		require.NoError(t, s.contacts[name].Adopt(t.Context()))
		require.NoError(t, os.WriteFile(filepath.Join(s.folder, name+".env"), nil, 0o600))
	}
	require.NoError(t, s.gone.Serve(t.Context(), names))
	s.serve(names...)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.front.Load().ServeHTTP(w, r) }))
	t.Cleanup(web.Close)
	s.url = web.URL
	return s
}

// serve makes these the sites. Wrong passwords are forgotten.
func (s *several) serve(names ...string) {
	front := admin.NewFront(s.base)
	front.SetSites(s.options(names...))
	s.front.Store(front)
}

func (s *several) options(names ...string) (all []admin.Options) {
	for _, name := range names {
		options := s.base
		options.Site, options.Contacts, options.SitePassword = name, s.contacts[name], ownPassword(name)
		options.Timelines, options.Creations = history.New(s.rdb, name, 1), throttle.NewCreations(s.rdb, name, 0)
		all = append(all, options)
	}
	return all
}

// wait makes contact 7 of a site wait, or parks it.
func (s *several) wait(t *testing.T, site string, parked bool) {
	t.Helper()
	ref := contact.Ref{Site: site, ID: "7"}
	_, err := s.contacts[site].Submit(t.Context(), ref, contact.Intent{Action: contact.Add}, contact.Receipt{})
	require.NoError(t, err)
	if !parked {
		return
	}
	epoch, err := s.rdb.HGet(t.Context(), "spw:{spillway."+site+"}:c:"+ref.String(), "epoch").Result()
	require.NoError(t, err)
	claim, err := s.contacts[site].Claim(t.Context(), ref.String()+":"+epoch)
	require.NoError(t, err)
	_, err = claim.Park(t.Context(), pending.Failure{Code: "no_email", Text: "the contact has no email"}, "")
	require.NoError(t, err)
}

func (s *several) call(t *testing.T, method, path, user, password string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
	require.NoError(t, err)
	request.SetBasicAuth(user, password)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

// Every route that the API describes: ?site= chooses the site, whose own password
// opens it there and nowhere else.
func TestEveryRouteOfTheAPIKnowsItsSite(t *testing.T) {
	s := newSeveral(t, "shop", "blog")
	_, text := s.call(t, http.MethodGet, "/api/v1/openapi.json", admin.User, wholePassword)
	var document description
	require.NoError(t, json.Unmarshal([]byte(text), &document))
	whole := []string{"/replicas", "/sites/{name}/drop"} // about the installation
	anywhere := []string{"/sites", "/openapi.json"}
	tried := 0
	for path, operations := range document.Paths {
		for method := range operations {
			tried++
			s.serve("shop", "blog")
			s.leaveTraces(t, "shop")
			method = strings.ToUpper(method)
			address := "/api/v1" + strings.NewReplacer("{id}", "7", "{name}", "lost").Replace(path)
			described := func(status int, body string) {
				t.Helper()
				document.requireDescribed(t, method, path, status, body)
			}
			status, body := s.call(t, method, address+"?site=blog", "shop", ownPassword("shop"))
			require.Equal(t, http.StatusUnauthorized, status, "%s %s: %s", method, path, body)
			status, body = s.call(t, method, address, "shop", ownPassword("shop"))
			require.Equal(t, http.StatusUnauthorized, status, "%s %s: %s", method, path, body)
			status, body = s.call(t, method, address+"?site=shop", "blog", ownPassword("shop"))
			require.Equal(t, http.StatusUnauthorized, status, "%s %s: another name, %s", method, path, body)

			own, ownBody := s.call(t, method, address+"?site=shop", "shop", ownPassword("shop"))
			open, openBody := s.call(t, method, address, admin.User, wholePassword)
			described(own, ownBody)
			described(open, openBody)
			status, body = s.call(t, method, address+"?site=unknown", admin.User, wholePassword)
			require.Equal(t, http.StatusNotFound, status, "%s %s: %s", method, path, body)
			require.Contains(t, body, "unknown_site")
			described(status, body)
			if slices.Contains(whole, path) {
				require.Equal(t, http.StatusNotFound, own, "%s %s: %s", method, path, ownBody)
				require.NotEqual(t, http.StatusNotFound, open, "%s %s: %s", method, path, openBody)
				continue
			}
			require.NotContains(t, []int{http.StatusUnauthorized, http.StatusServiceUnavailable}, own, "%s %s: %s", method, path, ownBody)
			if slices.Contains(anywhere, path) {
				require.Equal(t, http.StatusOK, open, "%s %s: %s", method, path, openBody)
				continue
			}
			require.Equal(t, http.StatusBadRequest, open, "%s %s: %s", method, path, openBody)
			require.Contains(t, openBody, "missing_site")
		}
	}
	require.Greater(t, tried, 15)
	_, body := s.call(t, http.MethodGet, "/api/v1/sites?site=shop", "shop", ownPassword("shop"))
	require.NotContains(t, body, "blog")
}

// With several sites a page of one leads to contacts of that one.
func TestPagesOfASiteLinkToItsContacts(t *testing.T) {
	s := newSeveral(t, "shop", "blog")
	s.wait(t, "shop", true)
	last := comparisons.Comparison{
		Site: "shop", Began: time.Now(), Ended: time.Now(),
		Differences: map[string]int{"tags_missing": 1}, Examples: []comparisons.Example{{Contact: "7", Kind: "tags_missing"}},
	}
	require.NoError(t, comparisons.New(s.rdb).Write(t.Context(), last))
	for _, page := range []string{"/", "/parked", "/comparison"} {
		_, body := s.call(t, http.MethodGet, page+"?site=shop", admin.User, wholePassword)
		require.Contains(t, body, `<a href="/contacts/7?site=shop">`, page)
		require.NotContains(t, body, `<a href="/contacts/7">`, page)
		require.NotContains(t, body, "1 contacts", page)
	}
}

// leaveTraces makes a site have something of all that the API tells.
func (s *several) leaveTraces(t *testing.T, site string) {
	t.Helper()
	s.wait(t, site, true)
	event := history.Event{
		Time: time.Now(), Kind: history.Parked, Action: "add", Code: "no_email", Error: "the contact has no email", Waited: 20, Took: 30, Covered: 1,
		Webhooks: []contact.Receipt{{At: time.Now(), Action: contact.Add, RequestID: "req-17"}}, RequestID: "req-17",
	}
	require.NoError(t, s.rdb.LPush(t.Context(), shard.Timeline("spillway."+site, contact.Ref{Site: site, ID: "7"}), event.Encode()).Err())
	counter := refusals.New(s.rdb)
	counter.Count(site, "missing_action")
	require.NoError(t, counter.Flush(t.Context()))
	require.NoError(t, roster.New(s.rdb).Beat(t.Context(), roster.Replica{
		ID: "w", Role: roster.Worker, Host: "machine-two", Concurrency: 64, Settings: []roster.Setting{{Name: "SPILLWAY_QUEUES", Value: "1"}},
	}))
	require.NoError(t, observations.New(s.rdb, site).Note(t.Context(), "7", contact.Result{
		Outcome: contact.Updated, UserID: 42, Notes: []string{"role_not_allowed"}, Observed: &contact.Observation{Keys: []string{"first_name"}},
	}))
	require.NoError(t, comparisons.New(s.rdb).Write(t.Context(), comparisons.Comparison{
		Site: site, By: comparisons.ByCommand, Began: time.Now(), Ended: time.Now(), Differences: map[string]int{"tags_missing": 1},
		Examples: []comparisons.Example{{Contact: "7", Kind: "tags_missing", Users: []int64{42}}},
	}))
}

// Whoever looked at a site comes back to what its new settings let them see.
func TestNewSettingsEndTheStreamsOfTheOldOnes(t *testing.T) {
	s := newSeveral(t, "shop", "blog")
	s.base.Password = ""
	s.serve("shop", "blog")
	front := s.front.Load()
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- front.Run(ctx) }()
	next, ended := stream(t, t.Context(), s.url+"/events?view=now:3h&site=shop")
	next("live-verdict")
	front.SetSites(s.options("shop", "blog"))
	require.True(t, ended(), "the stream ends in order")
	next, _ = stream(t, t.Context(), s.url+"/events?view=now:3h&site=shop")
	next("live-verdict")
	stop()
	require.NoError(t, <-stopped)
}

// What is done to one site is not done to another, whose contacts have the same ids.
func TestTheAPIChangesTheSiteThatIsNamedAndNoOther(t *testing.T) {
	s := newSeveral(t, "shop", "blog")
	s.wait(t, "shop", true)
	s.wait(t, "blog", true)
	do := func(method, path string) string {
		t.Helper()
		status, body := s.call(t, method, "/api/v1"+path+"?site=shop", "shop", ownPassword("shop"))
		require.Less(t, status, 300, body)
		return body
	}
	stats := func(site string) pending.Stats {
		t.Helper()
		stats, err := s.contacts[site].Stats(t.Context())
		require.NoError(t, err)
		return stats
	}
	require.Contains(t, do(http.MethodGet, "/contacts/7"), `"state":"parked"`)
	status, page := s.call(t, http.MethodPost, "/contacts/find?site=shop&q=7", "shop", ownPassword("shop"))
	require.Equal(t, http.StatusOK, status, "a search leads to the contact of the same site")
	require.Contains(t, page, "<h1>Contact 7</h1>")
	require.Contains(t, page, "<title>Contact 7 · shop · Spillway</title>", "tabs of several sites differ")
	status, _ = s.call(t, http.MethodPut, "/?site=shop", "shop", ownPassword("shop"))
	require.Equal(t, http.StatusMethodNotAllowed, status)
	require.Contains(t, do(http.MethodPost, "/parked/retry"), `"contacts":1`)
	require.Zero(t, stats("shop").Parked)
	require.EqualValues(t, 1, stats("blog").Parked)
	do(http.MethodPost, "/pause")
	require.Contains(t, s.log.String(), `"site":"shop","message":"paused by the operator"`, "the log says of which site")
	require.True(t, stats("shop").Paused)
	require.False(t, stats("blog").Paused)
	do(http.MethodPost, "/resume")
	_, page = s.call(t, http.MethodGet, "/", admin.User, wholePassword)
	require.Less(t, strings.Index(page, "site=blog"), strings.Index(page, "site=shop"), "the one with a parked contact comes first")
	require.False(t, stats("shop").Paused)
	s.call(t, http.MethodPost, "/api/v1/contacts/8/sync?site=shop", admin.User, wholePassword)
	require.EqualValues(t, 2, stats("shop").Pending)
	require.Zero(t, stats("blog").Pending)
	status, body := s.call(t, http.MethodDelete, "/api/v1/parked/7?site=shop", admin.User, wholePassword)
	require.Equal(t, http.StatusNotFound, status, body)
	require.EqualValues(t, 1, stats("blog").Parked)
	status, _ = s.call(t, http.MethodDelete, "/api/v1/parked/7?site=blog", admin.User, wholePassword)
	require.Equal(t, http.StatusOK, status)
	require.Zero(t, stats("blog").Parked)
}

// A site that has gone is shown with what waits for it, and dropped by the password
// of the installation alone; one that comes back finds its contacts.
func TestASiteThatHasGoneIsShownAndDropped(t *testing.T) {
	s := newSeveral(t, "shop", "blog", "shop-2")
	for name := range s.contacts {
		s.wait(t, name, false)
	}
	s.wait(t, "blog", true)
	drop := func(path, user, password string) (int, string) {
		return s.call(t, http.MethodPost, path, user, password)
	}
	require.NoError(t, os.Remove(filepath.Join(s.folder, "shop.env")))
	require.NoError(t, os.Remove(filepath.Join(s.folder, "shop-2.env")))
	s.serve("blog")

	var list struct {
		Sites []struct {
			Name, State string
			Pending     int
			Hinders     []string
		}
	}
	_, text := s.call(t, http.MethodGet, "/api/v1/sites", admin.User, wholePassword)
	require.NoError(t, json.Unmarshal([]byte(text), &list))
	require.Len(t, list.Sites, 3)
	require.Equal(t, "shop", list.Sites[1].Name)
	require.Equal(t, "gone", list.Sites[1].State)
	require.Equal(t, 1, list.Sites[1].Pending)
	_, page := s.call(t, http.MethodGet, "/sites", admin.User, wholePassword)
	require.Contains(t, page, `action="/sites/shop/drop"`)
	_, page = s.call(t, http.MethodGet, "/", admin.User, wholePassword)
	require.Contains(t, page, `href="/sites"`, "the first page of the only site leads there")

	// The site that is left has a password, which opens nothing of the others.
	status, _ := drop("/api/v1/sites/shop/drop?confirm=shop", "blog", ownPassword("blog"))
	require.Equal(t, http.StatusUnauthorized, status)
	status, _ = drop("/api/v1/sites/shop/drop?confirm=shop&site=blog", "blog", ownPassword("blog"))
	require.Equal(t, http.StatusNotFound, status)
	for _, path := range []string{"/", "/sites", "/monitor", "/replicas", "/api/v1/replicas"} {
		status, _ := s.call(t, http.MethodGet, path, "blog", ownPassword("blog"))
		require.Equal(t, http.StatusUnauthorized, status, path)
		status, _ = s.call(t, http.MethodGet, path+"?site=blog", "blog", ownPassword("blog"))
		require.Equal(t, path == "/", status == http.StatusOK, path)
	}
	_, text = s.call(t, http.MethodGet, "/api/v1/sites?site=blog", "blog", ownPassword("blog"))
	require.NotContains(t, text, "shop")

	status, body := drop("/api/v1/sites/shop/drop?confirm=blog", admin.User, wholePassword)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, body, "not_confirmed")
	status, body = drop("/api/v1/sites/shop/drop?confirm=shop", admin.User, wholePassword)
	require.Equal(t, http.StatusConflict, status, "a program served it just now")
	require.Contains(t, body, "site_in_use")
	s.serve("blog")
	s.silence(t, "shop", "shop-2", "blog")
	status, _ = drop("/api/v1/sites/blog/drop?confirm=blog", admin.User, wholePassword)
	require.Equal(t, http.StatusNotFound, status, "it has a file")

	// A pass under way would leave something behind.
	epoch, err := s.rdb.HGet(t.Context(), "spw:{spillway.shop}:c:shop:7", "epoch").Result()
	require.NoError(t, err)
	claim, err := s.contacts["shop"].Claim(t.Context(), "shop:7:"+epoch)
	require.NoError(t, err)
	status, body = drop("/api/v1/sites/shop/drop?confirm=shop", admin.User, wholePassword)
	require.Equal(t, http.StatusConflict, status, body)
	require.NoError(t, claim.Release(t.Context(), 0, ""))

	status, body = drop("/sites/shop/drop?"+url.Values{"confirm": {"shop"}}.Encode(), admin.User, wholePassword)
	require.Equal(t, http.StatusOK, status, body) // the page that the form leads to
	keys, err := s.rdb.Keys(t.Context(), "*shop*").Result()
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	for _, key := range keys {
		require.Contains(t, key, "shop-2")
	}
	status, _ = drop("/api/v1/sites/shop/drop?confirm=shop", admin.User, wholePassword)
	require.Equal(t, http.StatusNotFound, status, "once more")

	record, err := s.contacts["shop-2"].Lookup(t.Context(), contact.Ref{Site: "shop-2", ID: "7"})
	require.NoError(t, err)
	require.Equal(t, pending.Pending, record.State, "one that comes back finds its contacts")
}

// silence makes it a minute ago that programs served sites.
func (s *several) silence(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		require.NoError(t, s.rdb.ZAdd(t.Context(), "spw:sites", redis.Z{Score: float64(time.Now().Add(-time.Minute).UnixMilli()), Member: name}).Err())
	}
}
