package doctor_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/admin/comparisons"
	"spillway/internal/assembly"
	"spillway/internal/config"
	"spillway/internal/contact"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
	"spillway/internal/lab/sitetest"
	"spillway/internal/lab/wptest"
	"spillway/internal/operate/doctor"
	"spillway/internal/vault"
)

const (
	accessKey   = "a-long-access-key"
	secretKey   = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	otherKey    = "MTEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	appPassword = "abcd efgh ijkl mnop"
	crmToken    = "a-token-of-the-crm"
)

// bundle is an installation in which all is well.
type bundle struct {
	stand   *sandbox.Running
	redis   *redistest.Server
	environ map[string]string
}

func setup(t *testing.T, site sandbox.SiteOptions) *bundle {
	t.Helper()
	site.User, site.AppPassword, site.StartCost = "spillway", appPassword, -1
	stand, err := sandbox.Serve(sandbox.Options{CRM: sandbox.CRMOptions{Token: crmToken}, Site: site})
	require.NoError(t, err)
	t.Cleanup(func() { _ = stand.Close(context.Background()) })
	stand.CRM.Seed(3)
	b := &bundle{stand: stand, redis: redistest.Start(t)}
	b.environ = map[string]string{
		"SPILLWAY_REDIS_URL": b.redis.URL(), "SPILLWAY_ACCESS_KEYS": accessKey, "SPILLWAY_SECRET_KEY": secretKey,
		"SPILLWAY_CRM_URL": stand.CRMURL, "SPILLWAY_CRM_TOKEN": crmToken, "SPILLWAY_CRM_RATE": "1000",
		"SPILLWAY_SITE_URL": stand.SiteURL, "SPILLWAY_SITE_USER": "spillway", "SPILLWAY_SITE_APP_PASSWORD": appPassword,
		"SPILLWAY_RETURN_PASSWORD_FIELD": "wp_password", "SPILLWAY_PUBLIC_URL": spillway(t),
	}
	return b
}

// spillway answers as ingest does.
func spillway(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Access-Key") != accessKey || r.URL.Query().Has("access_key") {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"error":{"code":"invalid_access_key","message":"…"}}`))
			return
		}
		_, _ = w.Write([]byte(`{"success":true}`))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// work runs a worker until the test ends.
func (b *bundle) work(t *testing.T) {
	t.Helper()
	environ := []string{"SPILLWAY_WORKER_ADDR=127.0.0.1:0"}
	for name, value := range b.environ {
		environ = append(environ, name+"="+value)
	}
	settings, err := config.Load(config.Worker, nil, environ)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- assembly.Worker(ctx, settings, zerolog.Nop()) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
}

// examine runs the doctor with settings changed; an empty value removes one.
func (b *bundle) examine(t *testing.T, changes ...string) doctor.Report {
	t.Helper()
	var environ []string
	for name, value := range b.environ {
		environ = append(environ, name+"="+value)
	}
	settings, err := config.Load(config.Operator, nil, append(changes, environ...))
	require.NoError(t, err)
	report := doctor.Examine(t.Context(), settings)
	var printed bytes.Buffer
	require.NoError(t, report.Print(&printed, true))
	encoded, err := json.Marshal(report)
	require.NoError(t, err)
	for _, secret := range []string{accessKey, secretKey, otherKey, appPassword, crmToken} {
		require.NotContains(t, printed.String(), secret)
		require.NotContains(t, string(encoded), secret)
	}
	for _, finding := range report.Findings {
		if finding.Status == doctor.Warn || finding.Status == doctor.Fail {
			require.NotEmpty(t, finding.Remedy, finding.Check)
		}
	}
	return report
}

// requireFinding compares a finding's status and a part of its text.
func requireFinding(t *testing.T, report doctor.Report, check string, status doctor.Status, part string) {
	t.Helper()
	finding, ok := report.Find(check)
	require.True(t, ok, "no finding %q in %+v", check, report.Findings)
	require.Equal(t, status, finding.Status, "%+v", finding)
	require.Contains(t, finding.Text, part, "%+v", finding)
}

func TestAllIsWell(t *testing.T) {
	t.Parallel()
	b := setup(t, sandbox.SiteOptions{})
	b.work(t)
	var report doctor.Report
	polltest.Until(t, 20*time.Second, func() bool {
		report = b.examine(t)
		finding, _ := report.Find("workers")
		return finding.Status == doctor.OK
	}, "a worker tells of itself when it starts")
	require.Zero(t, report.Failed, "%+v", report.Findings)
	requireFinding(t, report, "Redis fills up", doctor.Skipped, "after Spillway has run for a day")
	require.Equal(t, 1, report.Skipped, "%+v", report.Findings)
	for _, check := range []string{
		"Redis", "Redis version", "Redis persistence", "Redis eviction", "Redis memory",
		"Redis is ours alone", "secret key", "CRM", "CRM rate", "site",
		"site password", "site rights", "site plugin", "WordPress", "WP Fusion", "meta keys", "roles", "default role",
		"fields of the CRM", "fields of the site", "clocks", "webhooks", "workers", "queue", "parked contacts", "breakers",
	} {
		_, ok := report.Find(check)
		require.True(t, ok, check)
	}
}

func TestEachThingThatIsWrongIsFound(t *testing.T) {
	t.Parallel()
	b := setup(t, sandbox.SiteOptions{})
	weak, weakPassword := b.stand.Site.WeakCredentials()
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(elsewhere.Close)
	answering := func(status int, body string, header ...string) *httptest.Server {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(server.Close)
		return server
	}
	bare := answering(http.StatusNotFound, `{"code":"rest_no_route","message":"No route was found."}`)
	staging := answering(http.StatusUnauthorized, "<html><title>401</title>", "WWW-Authenticate", `Basic realm="Staging"`)
	challenging := answering(http.StatusForbidden, "<!DOCTYPE html><title>Just a moment...</title>", "Cf-Mitigated", "challenge")
	powerful := answering(http.StatusOK, `{"plugin":"0.3.0","protocol":2,"fields":{},"rights":{"own":false,"beyond":["create_users","edit_users"]},"locks":false,"transactions":true}`)
	redirecting := httptest.NewServer(http.RedirectHandler("https://example.com/", http.StatusMovedPermanently))
	t.Cleanup(redirecting.Close)
	const closed = "http://127.0.0.1:1"
	requireFinding(t, b.examine(t, "SPILLWAY_CREATED_TAG=tag 1"), "created tag", doctor.OK, `get the tag 1, "Tag 1"`)
	for name, test := range map[string]struct {
		changes []string
		check   string
		status  doctor.Status
		says    string
	}{
		"Redis is down":         {[]string{"SPILLWAY_REDIS_URL=redis://127.0.0.1:1/0"}, "Redis", doctor.Fail, "does not answer"},
		"wrong token":           {[]string{"SPILLWAY_CRM_TOKEN=wrong"}, "CRM", doctor.Fail, "refuses SPILLWAY_CRM_TOKEN (status 401)"},
		"CRM is down":           {[]string{"SPILLWAY_CRM_URL=" + closed}, "CRM", doctor.Fail, "connection refused"},
		"CRM is something else": {[]string{"SPILLWAY_CRM_URL=" + elsewhere.URL}, "CRM", doctor.Fail, "404"},
		"wrong app password":    {[]string{"SPILLWAY_SITE_APP_PASSWORD=wrong"}, "site password", doctor.Fail, "status 401"},
		"a subscriber": {
			[]string{"SPILLWAY_SITE_USER=" + weak, "SPILLWAY_SITE_APP_PASSWORD=" + weakPassword},
			"site rights", doctor.Fail, "status 403",
		},
		"site is down":               {[]string{"SPILLWAY_SITE_URL=" + closed}, "site", doctor.Fail, "connection refused"},
		"site without the connector": {[]string{"SPILLWAY_SITE_URL=" + bare.URL}, "site plugin", doctor.Fail, "no route spillway/v1"},
		"no WordPress at all":        {[]string{"SPILLWAY_SITE_URL=" + elsewhere.URL}, "site", doctor.Fail, "status 404"},
		"a staging site":             {[]string{"SPILLWAY_SITE_URL=" + staging.URL}, "site", doctor.Fail, "Basic authentication"},
		"a challenge":                {[]string{"SPILLWAY_SITE_URL=" + challenging.URL}, "site", doctor.Fail, "«Just a moment...»"},
		"more rights than needed":    {[]string{"SPILLWAY_SITE_URL=" + powerful.URL}, "site rights", doctor.Warn, "create_users, edit_users"},
		"no locks":                   {[]string{"SPILLWAY_SITE_URL=" + powerful.URL}, "site database", doctor.Fail, "GET_LOCK"},
		"site redirects":             {[]string{"SPILLWAY_SITE_URL=" + redirecting.URL}, "site", doctor.Fail, "redirects"},
		"a role that is missing":     {[]string{"SPILLWAY_ROLES_ALLOWED=subscriber,student"}, "roles", doctor.Warn, "no role student"},
		"a default role missing": {
			[]string{"SPILLWAY_ROLES_ALLOWED=student", "SPILLWAY_DEFAULT_ROLE=student"}, "default role", doctor.Fail, "no role student",
		},
		"a field the CRM has not": {[]string{"SPILLWAY_FIELDS=user_email=e_mail"}, "fields of the CRM", doctor.Fail, "no field e_mail"},
		"a return field missing":  {[]string{"SPILLWAY_RETURN_PASSWORD_FIELD=pass_word"}, "fields of the CRM", doctor.Fail, "no field pass_word"},
		"no such tag":             {[]string{"SPILLWAY_CREATED_TAG=Nobody's"}, "created tag", doctor.Fail, `no tag "Nobody's"`},
		"no tag of that id":       {[]string{"SPILLWAY_CREATED_TAG=999999"}, "created tag", doctor.Fail, `no tag "999999"`},
		"a key the site has not":  {[]string{"SPILLWAY_FIELDS=user_email=email,billing_no_such_field=company"}, "fields of the site", doctor.Warn, "billing_no_such_field"},
		"a key nobody may write":  {[]string{"SPILLWAY_FIELDS=wp_capabilities=email"}, "fields of the site", doctor.Fail, "wp_capabilities"},
		"another access key":      {[]string{"SPILLWAY_ACCESS_KEYS=" + accessKey + ",a-second-access-key"}, "webhooks", doctor.Fail, "refuses access key 2 of 2"},
		"nobody at the address":   {[]string{"SPILLWAY_PUBLIC_URL=" + closed}, "webhooks", doctor.Fail, "does not answer"},
		"the site at the address": {[]string{"SPILLWAY_PUBLIC_URL=" + b.stand.SiteURL}, "webhooks", doctor.Fail, "not as Spillway does"},
		"the address redirects":   {[]string{"SPILLWAY_PUBLIC_URL=" + redirecting.URL}, "webhooks", doctor.Fail, "redirects"},
		"no worker":               {nil, "workers", doctor.Fail, "no worker is alive"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireFinding(t, b.examine(t, test.changes...), test.check, test.status, test.says)
		})
	}
}

func TestModeRelayIsExaminedByItsOwnNeeds(t *testing.T) {
	t.Parallel()
	b := setup(t, sandbox.SiteOptions{})
	answering := func(status int, body string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("access_key") == accessKey && r.URL.Query().Get("wpf_action") == "test" {
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
			}
		}))
		t.Cleanup(server.Close)
		return "SPILLWAY_SITE_URL=" + server.URL
	}
	const mode = "SPILLWAY_MODE=relay"
	report := b.examine(t, mode, answering(http.StatusOK, `{"success":true}`))
	requireFinding(t, report, "relay", doctor.OK, "takes the first of SPILLWAY_ACCESS_KEYS")
	requireFinding(t, report, "CRM", doctor.Skipped, "needs none")
	requireFinding(t, report, "settings", doctor.Warn, "SPILLWAY_RETURN_PASSWORD_FIELD")
	_, ok := report.Find("site password")
	require.False(t, ok)
	report = b.examine(t, mode, answering(http.StatusForbidden, "Invalid Access Key"))
	requireFinding(t, report, "relay", doctor.Fail, "relay_key")
	report = b.examine(t, mode, answering(http.StatusLoopDetected, `{"error":{"code":"relay_circle","message":"…"}}`))
	requireFinding(t, report, "relay", doctor.Fail, "relay_circle")
	finding, _ := report.Find("relay")
	require.Contains(t, finding.Remedy, "spillway relay")
}

func TestRedisThatLosesWebhooksIsFound(t *testing.T) {
	t.Parallel()
	b := setup(t, sandbox.SiteOptions{})
	client := b.redis.Client()
	for setting, want := range map[string]struct {
		value, check string
		status       doctor.Status
		says         string
	}{
		"appendonly":       {"no", "Redis persistence", doctor.Fail, "no append-only file"},
		"appendfsync":      {"no", "Redis persistence", doctor.Warn, "appendfsync no"},
		"maxmemory-policy": {"allkeys-lru", "Redis eviction", doctor.Fail, "allkeys-lru"},
		"maxmemory":        {"1200000", "Redis memory", doctor.Warn, "MiB used"},
	} {
		before, err := client.ConfigGet(t.Context(), setting).Result()
		require.NoError(t, err)
		require.NoError(t, client.ConfigSet(t.Context(), setting, want.value).Err())
		finding, ok := b.examine(t).Find(want.check)
		require.True(t, ok, setting)
		require.Contains(t, finding.Text, want.says)
		if setting != "maxmemory" { // how much an empty Redis uses differs
			require.Equal(t, want.status, finding.Status, "%+v", finding)
		} else {
			require.NotEqual(t, doctor.OK, finding.Status)
		}
		require.NoError(t, client.ConfigSet(t.Context(), setting, before[setting]).Err())
	}
}

func TestRedisThatLosesWebhooksInAFailoverIsFound(t *testing.T) {
	t.Parallel()
	b := setup(t, sandbox.SiteOptions{})
	const check = "Redis role"
	requireFinding(t, b.examine(t), check, doctor.OK, "0 replicas")

	sentinel := redistest.StartSentinel(t)
	b.environ["SPILLWAY_REDIS_URL"] = sentinel.URL()
	requireFinding(t, b.examine(t), check, doctor.Warn, "min-replicas-to-write is 0")
	master := sentinel.Master.Client()
	require.NoError(t, master.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
	polltest.Until(t, time.Minute, func() bool {
		finding, _ := b.examine(t).Find(check)
		return finding.Status == doctor.OK
	}, "the replica is in step")
	sentinel.Replica.Kill()
	polltest.Until(t, time.Minute, func() bool {
		finding, _ := b.examine(t).Find(check)
		return finding.Status == doctor.Fail
	}, "the replica is missed")
}

func TestRedisThatFillsUpIsFound(t *testing.T) {
	t.Parallel()
	b := setup(t, sandbox.SiteOptions{})
	client, hour := b.redis.Client(), time.Now().Unix()/3600
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "100mb").Err())
	for growth, want := range map[float64]doctor.Status{0.0: doctor.OK, 0.1: doctor.Warn, 0.4: doctor.Fail} {
		require.NoError(t, client.HSet(t.Context(), "spw:history:shares", strconv.FormatInt(hour-30, 10), 0.01, strconv.FormatInt(hour-2, 10), 0.01+growth).Err())
		finding, ok := b.examine(t).Find("Redis fills up")
		require.True(t, ok)
		require.Equal(t, want, finding.Status, "%+v", finding)
	}
}

func TestRedisThatOthersUseIsFound(t *testing.T) {
	t.Parallel()
	b := setup(t, sandbox.SiteOptions{})
	const check = "Redis is ours alone"
	client := b.redis.Client()
	requireFinding(t, b.examine(t), check, doctor.OK, "nobody flushed it")
	require.NoError(t, client.Set(t.Context(), "wp:users:ann@example.org", "x", 0).Err())
	requireFinding(t, b.examine(t), check, doctor.Warn, `such as "wp:…"`)
	require.NoError(t, client.FlushDB(t.Context()).Err())
	requireFinding(t, b.examine(t), check, doctor.Warn, "was called 1 times")
}

func TestKeyOtherThanTheWorkersIsFound(t *testing.T) {
	t.Parallel()
	b := setup(t, sandbox.SiteOptions{})
	key, err := base64.StdEncoding.DecodeString(otherKey)
	require.NoError(t, err)
	sealed, err := vault.New(b.redis.Client(), key, assembly.VaultPrefix)
	require.NoError(t, err)
	require.NoError(t, sealed.Seal(t.Context(), "default:17", []byte("x"), time.Hour))
	requireFinding(t, b.examine(t), "secret key", doctor.Fail, "1 of 1 entries")
}

func TestOldConnectorIsFound(t *testing.T) {
	t.Parallel()
	for version, test := range map[string]struct {
		protocol int
		status   doctor.Status
		says     string
	}{"0.0.9": {2, doctor.Warn, "0.0.9"}, "0.2.0": {1, doctor.Fail, "speaks protocol 1"}, "9.0.0": {3, doctor.Fail, "protocol 3"}} {
		b := setup(t, sandbox.SiteOptions{PluginVersion: version, Protocol: test.protocol})
		requireFinding(t, b.examine(t), "site plugin", test.status, test.says)
	}
}

func TestPausedQueueAndParkedContactsAreTold(t *testing.T) {
	t.Parallel()
	b := setup(t, sandbox.SiteOptions{})
	settings, err := config.Load(config.Operator, nil, []string{"SPILLWAY_REDIS_URL=" + b.redis.URL()})
	require.NoError(t, err)
	contacts := assembly.Contacts(b.redis.Client(), settings)
	require.NoError(t, contacts.Pause(t.Context()))
	requireFinding(t, b.examine(t), "queue", doctor.Warn, "paused")
	requireFinding(t, b.examine(t), "parked contacts", doctor.OK, "none")
}

func TestRealWordPressIsWell(t *testing.T) {
	t.Parallel()
	b := setup(t, sandbox.SiteOptions{})
	wp := wptest.Start(t, wptest.Options{WPFusion: true, Plugins: map[string]string{"mapping.php": `<?php
function wpf_get_option( $name, $default = null ) {
	return 'contact_fields' === $name ? array( 'billing_company' => array( 'active' => true, 'crm_field' => 'company' ) ) : $default;
}`}})
	user, password := wp.Credentials()
	b.environ["SPILLWAY_SITE_URL"], b.environ["SPILLWAY_SITE_USER"], b.environ["SPILLWAY_SITE_APP_PASSWORD"] = wp.URL(), user, password
	wp.CreateUser(sitetest.NewUser{Login: "ann", Email: "ann@example.com", Password: "x", Role: "subscriber"})
	report := b.examine(t, "SPILLWAY_FIELDS=user_email=email,first_name=first_name,billing_company=company,nobody_has_it=phone")
	requireFinding(t, report, "site plugin", doctor.OK, "protocol 2")
	requireFinding(t, report, "WP Fusion", doctor.OK, "3.42.0 is active")
	requireFinding(t, report, "meta keys", doctor.OK, "pulsetech_contact_id")
	requireFinding(t, report, "roles", doctor.OK, "exist")
	requireFinding(t, report, "clocks", doctor.OK, "site")
	finding, _ := report.Find("fields of the site")
	require.Equal(t, doctor.Warn, finding.Status)
	require.True(t, strings.HasPrefix(finding.Text, "no user has nobody_has_it,"), finding.Text)

	weak, weakPassword := wp.WeakCredentials()
	requireFinding(t, b.examine(t, "SPILLWAY_SITE_USER="+weak, "SPILLWAY_SITE_APP_PASSWORD="+weakPassword), "site rights", doctor.Fail, "403")
	requireFinding(t, b.examine(t, "SPILLWAY_SITE_APP_PASSWORD=wrong"), "site password", doctor.Fail, "401")
}

// Webhooks that came while ingest was down are lost: the doctor proposes to look
// for what they left, until somebody has.
func TestComparisonIsProposedAfterIngestWasDown(t *testing.T) {
	t.Parallel()
	b := setup(t, sandbox.SiteOptions{})
	const check = "comparison"
	requireFinding(t, b.examine(t), check, doctor.OK, "have not been compared yet")

	now := time.Now().UTC().Truncate(time.Second)
	from, to := now.Add(-3*time.Hour), now.Add(-2*time.Hour)
	require.NoError(t, b.redis.Client().HSet(t.Context(), "spw:ingest:down", "seen", now.UnixMilli(), "from", from.UnixMilli(), "to", to.UnixMilli()).Err())
	report := b.examine(t)
	requireFinding(t, report, check, doctor.Warn, "ingest was down for 1h0m0s until "+to.Format(time.DateTime)+" UTC, and nothing has been compared since")
	finding, _ := report.Find(check)
	require.Contains(t, finding.Remedy, "spillway reconcile --repair")

	store := comparisons.New(b.redis.Client())
	compare := func(began time.Time, differences map[string]int) {
		require.NoError(t, store.Write(t.Context(), comparisons.Comparison{
			Site: contact.DefaultSite, By: comparisons.ByCommand, Began: began, Ended: began.Add(time.Minute), Differences: differences,
		}))
	}
	compare(from.Add(-time.Hour), nil)
	requireFinding(t, b.examine(t), check, doctor.Warn, "nothing has been compared since")
	compare(to.Add(time.Minute), map[string]int{"tags_missing": 3})
	requireFinding(t, b.examine(t), check, doctor.Warn, "3 contacts differed")
	compare(to.Add(time.Hour), nil)
	requireFinding(t, b.examine(t), check, doctor.OK, "nothing differed")
	require.NoError(t, store.Fail(t.Context(), contact.DefaultSite, now, "the CRM was away"))
	requireFinding(t, b.examine(t), check, doctor.Warn, "the CRM was away")
}
