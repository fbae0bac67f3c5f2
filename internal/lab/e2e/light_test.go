package e2e

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
)

// light is a stack whose site is the sandbox's: for what does not depend on
// WordPress.
type light struct {
	stack
	stand  *sandbox.Site
	health string // URL of the worker's address
}

// lightOptions change how a light stack is made.
type lightOptions struct {
	crm       sandbox.CRMOptions
	wrapCRM   func(http.Handler) http.Handler
	wrapSite  func(http.Handler) http.Handler
	serve     func(http.Handler) *httptest.Server
	redisArgs []string
	env       map[string]string
}

const sitePassword = "e2e-application-password-5d"

// startLight runs Redis, stand-ins for the CRM and the site, and the programs.
func startLight(t *testing.T, o lightOptions) *light {
	t.Helper()
	same := func(h http.Handler) http.Handler { return h }
	if o.wrapCRM == nil {
		o.wrapCRM = same
	}
	if o.wrapSite == nil {
		o.wrapSite = same
	}
	if o.serve == nil {
		o.serve = httptest.NewServer
	}
	if o.crm.Token == "" && o.crm.OAuth == nil {
		o.crm.Token = crmToken
	}
	s := &light{stand: sandbox.NewSite(sandbox.SiteOptions{AppPassword: sitePassword, StartCost: -1, ContactCost: -1})}
	s.crm = sandbox.NewCRM(o.crm)
	crm, site := o.serve(o.wrapCRM(s.crm)), o.serve(o.wrapSite(s.stand))
	t.Cleanup(func() {
		s.crm.Close()
		crm.Close()
		site.Close()
	})
	s.redis = redistest.Start(t, o.redisArgs...)
	webhooks, admin, health := freeAddr(t), freeAddr(t), freeAddr(t)
	s.webhooks, s.admin, s.health = "http://"+webhooks, "http://"+admin, "http://"+health
	s.env = map[string]string{
		"SPILLWAY_REDIS_URL":             s.redis.URL(),
		"SPILLWAY_ACCESS_KEYS":           accessKey,
		"SPILLWAY_CRM_URL":               crm.URL,
		"SPILLWAY_CRM_RATE":              "1000",
		"SPILLWAY_SITE_URL":              site.URL,
		"SPILLWAY_SITE_USER":             "spillway",
		"SPILLWAY_SITE_APP_PASSWORD":     sitePassword,
		"SPILLWAY_RETURN_PASSWORD_FIELD": "wp_password",
		"SPILLWAY_SECRET_KEY":            secretKey,
		"SPILLWAY_INGEST_ADDR":           webhooks,
		"SPILLWAY_ADMIN_ADDR":            admin,
		"SPILLWAY_WORKER_ADDR":           health,
		"SPILLWAY_LOG_LEVEL":             "trace",
		"SPILLWAY_ANSWER_WAIT":           "0", // whoever wants to wait says so
	}
	if o.crm.Token != "" {
		s.env["SPILLWAY_CRM_TOKEN"] = o.crm.Token
	} else {
		s.env["SPILLWAY_CRM_TOKEN_URL"] = crm.URL + "/oauth/token"
	}
	for name, value := range o.env {
		s.env[name] = value
	}
	return s
}

// run starts the programs and waits until they are well.
func (s *light) run(t *testing.T) {
	t.Helper()
	s.ingest, s.worker = launch(t, "ingest", s.env), launch(t, "worker", s.env)
	s.well(t)
}

func (s *light) well(t *testing.T) {
	t.Helper()
	for _, url := range []string{s.admin + "/readyz", s.health + "/readyz"} {
		require.Eventually(t, func() bool {
			status, _ := get(t.Context(), url)
			return status == http.StatusOK
		}, 60*time.Second, 20*time.Millisecond, "%s is not well", url)
	}
}
