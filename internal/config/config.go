// Package config reads Spillway's settings from flags, environment variables
// and files, and refuses wrong ones before anything starts.
//
// A setting NAME has one value. The flag (--redis-url for SPILLWAY_REDIS_URL)
// comes before the variable NAME, and NAME_FILE names a file that holds the
// value; NAME and NAME_FILE together are a mistake. An empty variable or file
// counts as unset. Secrets have no flag, since other users of a machine can read
// the arguments of its processes.
//
// It guarantees that a [Config] without an error has passed every check that
// needs no network, that an error lists every wrong setting at once, and that
// neither errors nor a printed Config show a secret. Whether the CRM and the
// site accept the credentials is for the doctor to find out.
package config

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"spillway/internal/contact"
)

// Role says which program reads the settings. A program reads only what it
// needs: the ingest server never sees the CRM's token.
type Role int

// The roles.
const (
	// Ingest takes webhooks and serves the admin address.
	Ingest Role = iota + 1
	// Worker reads the CRM and stores on the site.
	Worker
	// All is every part in one process. It may go without the CRM and the
	// site altogether, see [Config.Unconfigured].
	All
	// Operator is a command that looks at an installation or steers it. It
	// listens nowhere, reads whatever is given, and needs none of it.
	Operator
)

func (r Role) ingests() bool { return r != Worker }
func (r Role) works() bool   { return r != Ingest }
func (r Role) listens() bool { return r != Operator }

// Config is what the settings say, checked and with their defaults. Settings
// that the role does not need are zero.
//
// It holds the settings of the installation and of one site. With SitesFolder
// set, the site's are zero until [Config.WithSite].
type Config struct {
	OfSite

	RedisURL   string // "embedded" only for All
	RedisGiven bool   // set by someone, not the default
	Queues     int    // over how many queues a site's contacts are spread

	// SitesFolder holds a file of settings for each site; empty: there is one
	// site, [contact.DefaultSite], and its settings are here.
	SitesFolder string

	// TrustedProxies are the addresses whose X-Forwarded-For header is believed.
	TrustedProxies []netip.Prefix
	Certificate    *tls.Certificate // of the ingest server; nil: plain HTTP
	AnswerWaiters  int              // how many answers wait at a time; 0: none
	Files          Files

	// Roots verify the certificates of Redis, the CRM and the site; nil: the
	// system's do.
	Roots *x509.CertPool

	SecretKey []byte // 32 bytes, or nil when nothing needs it
	SearchKey []byte // 32 bytes, or nil: contacts are found by id only

	PublicURL         string // where webhooks reach Spillway from outside; empty: not known
	IngestAddr        string
	AdminAddr         string
	WorkerAddr        string
	WorkerConcurrency int
	AdminPassword     string // empty: the admin address listens on loopback only
	MonitorWritable   bool   // asynq's monitor may change tasks

	LogLevel  zerolog.Level
	LogFormat string // "json" or "console"
}

// OfSite are the settings of one site.
type OfSite struct {
	Name string // of the site

	Mode       Mode          // how contacts get to the site
	Settle     time.Duration // how long a contact must have been without a webhook
	AccessKeys []string
	AnswerWait time.Duration // how long the answer to an add waits for its pass; 0: not at all

	CRM  CRM
	Site Site

	Fields              contact.FieldMap
	ReturnPasswordField string            // CRM field; empty: generated passwords are not returned
	ReturnFields        map[string]string // "user_login" and "user_id" → CRM field
	CreatedTag          string            // a tag's id or name; empty: none
	RolesAllowed        []string
	DefaultRole         string // empty: the site's own
	CreationLimit       int    // users that may be created within an hour; 0: any number
	Login               string // what logins are made of: "email", "flname" or "fnamenum"
	NotifyAlways        bool   // every new user gets the login details, asked for or not
	ClearDeleted        bool   // tags of users whose contact is gone are cleared
	Reconcile           string // when the CRM's tags are compared with the site's, see [ParseSchedule]; empty: never

	// SitePassword opens this site's part of the admin address; empty, as for
	// the only site of an installation: the installation's password does.
	SitePassword string
}

// Mode is how contacts get to a site.
type Mode string

// The modes.
const (
	// Connector stores contacts through Spillway's plugin.
	Connector Mode = "connector"
	// Observe asks Spillway's plugin what it would do, and writes nothing
	// anywhere.
	Observe Mode = "observe"
	// Relay calls WP Fusion's own endpoint with the first of the access keys. It
	// needs neither the plugin nor the CRM.
	Relay Mode = "relay"
)

// CRM says where the CRM is and how to call it. Either Token is set, or
// ClientID, ClientSecret and RefreshToken are.
type CRM struct {
	URL          string // without a slash at the end
	Token        string
	ClientID     string
	ClientSecret string
	RefreshToken string
	TokenURL     string  // empty: derived from URL
	Rate         float64 // calls per second over all replicas
	Concurrency  int     // calls at once per worker

	// Account names the account that the calls are counted for, and Tokens its
	// OAuth tokens, in Redis: package sites finds out which sites share them.
	// Empty: those of the installation's only site.
	Account, Tokens string
}

// OAuth reports whether tokens are fetched with the refresh token.
func (c CRM) OAuth() bool { return c.Token == "" && c.RefreshToken != "" }

// Site says where the WordPress site is and how hard it may be pressed.
type Site struct {
	URL         string // without a slash at the end, and without user and password
	User        string
	AppPassword string
	// ServerUser and ServerPassword are for the Basic authentication of the web
	// server in front of WordPress; empty: it asks for none.
	ServerUser     string
	ServerPassword string

	Batch       int    // contacts per request
	Concurrency int    // requests at once over all replicas
	ProbeURL    string // empty: no page is probed
}

// WithServer adds the user and password of the site's web server to an address,
// if the address is on that server. The result holds a secret: do not show it.
func (c Site) WithServer(address string) string {
	u, err := url.Parse(address)
	site, siteErr := url.Parse(c.URL)
	if err != nil || siteErr != nil || c.ServerUser == "" || u.Host != site.Host || u.Scheme != site.Scheme {
		return address
	}
	u.User = url.UserPassword(c.ServerUser, c.ServerPassword)
	return u.String()
}

// Unconfigured reports that neither the CRM nor the site is set: a first run,
// for which a stand-in of each will do. Only [All] can be unconfigured.
func (c Config) Unconfigured() bool {
	return c.CRM.URL == "" && c.Site.URL == "" && c.SitesFolder == ""
}

// Invalid lists every wrong setting, one line each: the setting, what is
// wrong, what to do.
type Invalid struct{ Problems []string }

func (e *Invalid) Error() string { return strings.Join(e.Problems, "\n") }

// Load reads the settings of a program that has no commands. args are the
// arguments without the program's name, environ is [os.Environ] or what
// [WithEnvFile] made of it. The error is an [*Invalid], or a [*Usage] when
// the arguments ask for help.
func Load(role Role, args, environ []string) (Config, error) {
	flags, err := parseFlags(args)
	if err != nil {
		return Config{}, err
	}
	return flags.Config(role, environ)
}

// Config reads the settings of a program that has the flags among commands of
// its own. The error is an [*Invalid].
func (f Flags) Config(role Role, environ []string) (Config, error) {
	s := newSettings(f, environ)
	s.refuseUnknown()

	c := Config{OfSite: OfSite{Name: contact.DefaultSite}}
	s.redis(&c, role)
	c.Roots = s.roots()
	c.Queues = s.number("SPILLWAY_QUEUES", 1, 1, 256)
	c.SitesFolder = s.folder("SPILLWAY_SITES")
	alone := c.SitesFolder == ""
	// Without a CRM and a site nobody sends webhooks either.
	firstRun := role == All && alone && !s.anyGiven(connectionSettings()) && !strings.EqualFold(s.text("SPILLWAY_MODE"), string(Relay))
	needed := !firstRun && role != Operator
	if alone {
		s.intake(&c.OfSite, role, needed)
	} else {
		s.refuseScope(ScopeSite, "belongs into the file of a site, since SPILLWAY_SITES is set: move it there")
	}
	if role.ingests() {
		s.ingest(&c)
		c.MonitorWritable = s.flag("SPILLWAY_MONITOR_WRITABLE")
	}
	if role.works() {
		if alone {
			s.passes(&c.OfSite, needed)
			s.seals(c.Mode, needed)
		}
		c.SecretKey = s.key("SPILLWAY_SECRET_KEY")
		c.WorkerConcurrency = s.number("SPILLWAY_WORKER_CONCURRENCY", 64, 1, 512)
	}
	if role.listens() {
		s.addresses(&c, role)
	}
	c.SearchKey = s.key("SPILLWAY_SEARCH_KEY")
	s.logging(&c)

	if len(s.problems) > 0 {
		return Config{}, &Invalid{Problems: s.problems}
	}
	return c, nil
}

// WithSite returns the settings with those of one site of SitesFolder, which
// environ holds: NAME=value, or NAME_FILE=path. The error is an [*Invalid].
func (c Config) WithSite(role Role, name string, environ []string) (Config, error) {
	s := newSettings(Flags{}, environ)
	s.refuseUnknown()
	s.refuseScope(ScopeInstallation, "belongs to the whole installation: set it in the environment of the programs")
	needed := role != Operator
	c.OfSite = OfSite{Name: name}
	s.intake(&c.OfSite, role, needed)
	if role.works() {
		s.passes(&c.OfSite, needed)
		if c.SecretKey == nil {
			s.seals(c.Mode, needed)
		}
	}
	if role.ingests() {
		c.SitePassword = s.secret("SPILLWAY_ADMIN_PASSWORD")
	}
	if len(s.problems) > 0 {
		return Config{}, &Invalid{Problems: s.problems}
	}
	return c, nil
}

// connectionSettings are the settings that say, if any one of them is given, that
// a real CRM or site is to be used.
func connectionSettings() []string {
	return []string{
		"SPILLWAY_CRM_URL", "SPILLWAY_CRM_TOKEN", "SPILLWAY_CRM_CLIENT_ID", "SPILLWAY_CRM_CLIENT_SECRET",
		"SPILLWAY_CRM_REFRESH_TOKEN", "SPILLWAY_SITE_URL", "SPILLWAY_SITE_USER", "SPILLWAY_SITE_APP_PASSWORD",
	}
}
