package config

import (
	"encoding/base64"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"spillway/internal/contact"
)

// The shortest access key. WP Fusion's own keys, which an installation may
// keep, have about ten characters.
const minAccessKey = 8

// longestAnswer is the longest time that a webhook may ask its answer to wait.
const longestAnswer = 30 * time.Second

// keyRemedy makes a value for SPILLWAY_SECRET_KEY or SPILLWAY_SEARCH_KEY.
const keyRemedy = "make one with: openssl rand -base64 32"

func (s *settings) redis(c *Config, role Role) {
	const name = "SPILLWAY_REDIS_URL"
	c.RedisURL, c.RedisGiven = "redis://127.0.0.1:6379/0", s.given(name)
	if !c.RedisGiven {
		return
	}
	if c.RedisURL = s.text(name); c.RedisURL == "" {
		return
	}
	s.checkRedisURL(name, c.RedisURL, role)
}

// intake reads what ingest needs to know of a site. The addresses of the CRM and
// the site are for the dashboard's links only; a worker needs and checks them.
func (s *settings) intake(c *OfSite, role Role, needed bool) {
	c.Mode = Mode(s.choice("SPILLWAY_MODE", modeChoices))
	c.Settle = s.duration("SPILLWAY_SETTLE", 0, time.Minute)
	if role.ingests() || c.Mode == Relay {
		c.AccessKeys = s.accessKeys(needed)
	}
	if !role.ingests() {
		return
	}
	c.AnswerWait = s.duration("SPILLWAY_ANSWER_WAIT", 4*time.Second, longestAnswer)
	if !role.works() {
		c.CRM.URL = s.baseURL("SPILLWAY_CRM_URL", "/api/v1", "")
		s.siteURL(&c.Site, "")
	}
}

func (s *settings) ingest(c *Config) {
	c.TrustedProxies = s.trustedProxies()
	c.PublicURL = s.baseURL("SPILLWAY_PUBLIC_URL", "", "the access key")
	c.AnswerWaiters = s.number("SPILLWAY_ANSWER_WAITERS", 200, 0, 100_000)
	c.Certificate = s.certificate()
	c.Files = s.files()
}

func (s *settings) accessKeys(needed bool) (keys []string) {
	const name = "SPILLWAY_ACCESS_KEYS"
	s.require(needed, name, "set it to the access key that the CRM's webhooks carry")
	before := len(s.problems)
	for i, key := range splitList(s.secret(name)) {
		switch {
		case strings.ContainsAny(key, " \t"):
			s.problem(name, ": key %d holds a space, separate keys by commas", i+1)
		case len(key) < minAccessKey:
			s.problem(name, ": key %d has fewer than %d characters, use a longer one", i+1, minAccessKey)
		case !slices.Contains(keys, key):
			keys = append(keys, key)
		}
	}
	if s.given(name) && len(keys) == 0 && len(s.problems) == before {
		s.problem(name, ": holds no key, set it to the access key that the CRM's webhooks carry")
	}
	return keys
}

// passes reads what a worker needs to know of a site.
func (s *settings) passes(c *OfSite, connected bool) {
	relayed := c.Mode == Relay
	s.crm(&c.CRM, connected && !relayed)
	s.site(&c.Site, connected, relayed)
	s.fields(c)
	s.roles(c)
	c.Reconcile = s.schedule("SPILLWAY_RECONCILE")
}

// seals checks that there is a key if something has to be kept sealed in Redis:
// generated passwords under way and renewed tokens.
func (s *settings) seals(mode Mode, needed bool) {
	const name = "SPILLWAY_SECRET_KEY"
	seals := s.given("SPILLWAY_RETURN_PASSWORD_FIELD") || s.given("SPILLWAY_CRM_REFRESH_TOKEN")
	s.require(needed && seals && mode != Relay, name, "it seals generated passwords and OAuth tokens in Redis; "+keyRemedy)
}

func (s *settings) crm(c *CRM, needed bool) {
	s.require(needed, "SPILLWAY_CRM_URL", "set it to the CRM account's address, such as https://app.ACCOUNT.thepulsespot.com")
	c.URL = s.baseURL("SPILLWAY_CRM_URL", "/api/v1", "the CRM's token")
	c.Token = s.secret("SPILLWAY_CRM_TOKEN")
	c.ClientID = s.secret("SPILLWAY_CRM_CLIENT_ID")
	c.ClientSecret = s.secret("SPILLWAY_CRM_CLIENT_SECRET")
	c.RefreshToken = s.secret("SPILLWAY_CRM_REFRESH_TOKEN")
	c.TokenURL = s.baseURL("SPILLWAY_CRM_TOKEN_URL", "", "the OAuth client's secret")
	c.Rate = s.rate("SPILLWAY_CRM_RATE", 40)
	c.Concurrency = s.number("SPILLWAY_CRM_CONCURRENCY", 16, 1, 1000)

	oauth := []string{"SPILLWAY_CRM_CLIENT_ID", "SPILLWAY_CRM_CLIENT_SECRET", "SPILLWAY_CRM_REFRESH_TOKEN"}
	withOAuth := s.anyGiven(oauth)
	switch {
	case s.given("SPILLWAY_CRM_TOKEN") && withOAuth:
		s.problem("SPILLWAY_CRM_TOKEN", ": set beside settings of OAuth, remove it or SPILLWAY_CRM_CLIENT_ID, SPILLWAY_CRM_CLIENT_SECRET and SPILLWAY_CRM_REFRESH_TOKEN")
	case withOAuth:
		for _, name := range oauth {
			s.require(true, name, "OAuth needs it beside the other two of SPILLWAY_CRM_CLIENT_ID, SPILLWAY_CRM_CLIENT_SECRET and SPILLWAY_CRM_REFRESH_TOKEN")
		}
	default:
		s.require(needed, "SPILLWAY_CRM_TOKEN", "set it to a token of the CRM, or set SPILLWAY_CRM_CLIENT_ID, SPILLWAY_CRM_CLIENT_SECRET and SPILLWAY_CRM_REFRESH_TOKEN for OAuth")
	}
}

func (s *settings) site(c *Site, needed, relayed bool) {
	s.require(needed, "SPILLWAY_SITE_URL", "set it to the WordPress site's address, such as https://www.example.com")
	carried := "the application password"
	if relayed {
		needed, carried = false, "the access key"
	}
	s.siteURL(c, carried)
	s.require(needed, "SPILLWAY_SITE_USER", "set it to the WordPress user that the application password belongs to")
	c.User = s.text("SPILLWAY_SITE_USER")
	if strings.Contains(c.User, ":") {
		s.problem("SPILLWAY_SITE_USER", ": holds a colon, which HTTP Basic authentication cannot carry, use a user name without one")
	}
	s.require(needed, "SPILLWAY_SITE_APP_PASSWORD", "make one in WordPress under Users » Profile » Application Passwords")
	c.AppPassword = s.secret("SPILLWAY_SITE_APP_PASSWORD")
	c.Batch = s.number("SPILLWAY_SITE_BATCH", 50, 1, 100)
	c.Concurrency = s.number("SPILLWAY_SITE_CONCURRENCY", 1, 1, 100)
	c.ProbeURL = s.pageURL("SPILLWAY_SITE_PROBE_URL")
}

func (s *settings) fields(c *OfSite) {
	const name = "SPILLWAY_FIELDS"
	mapping := s.text(name)
	if mapping == "" {
		mapping = "user_email=email,first_name=first_name,last_name=last_name"
	}
	fields, err := contact.ParseFieldMap(mapping)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			s.problem(name, " %s", strings.TrimSuffix(line, "\n"))
		}
	} else if len(fields) == 0 {
		s.wrong(name, mapping, "maps nothing, write wordpress_key=crm_field")
	}
	c.Fields = fields
	c.ReturnPasswordField = s.text("SPILLWAY_RETURN_PASSWORD_FIELD")
	s.returnFields(c)
	c.CreatedTag = s.createdTag()
	c.CreationLimit = s.number("SPILLWAY_CREATION_LIMIT", 1000, 0, 100_000)
	c.Login = s.choice("SPILLWAY_LOGIN", loginChoices)
	c.NotifyAlways = s.choice("SPILLWAY_NOTIFY", notifyChoices) == "always"
	c.ClearDeleted = s.choice("SPILLWAY_DELETED_CONTACTS", deletedChoices) == "clear_tags"
}

// What settings choose from; the first is the default.
const (
	modeChoices    = "connector observe relay"
	loginChoices   = "email flname fnamenum"
	notifyChoices  = "asked always"
	deletedChoices = "keep clear_tags"
)

// choice reads a setting that is one of a few words.
func (s *settings) choice(name, words string) string {
	choices := strings.Fields(words)
	given := strings.ToLower(s.text(name))
	switch {
	case given == "":
		return choices[0]
	case !slices.Contains(choices, given):
		s.wrong(name, given, "unknown, use %s", strings.Join(choices, " or "))
	}
	return given
}

// chosen writes a choice between two words.
func chosen(second bool, words string) string {
	first, other, _ := strings.Cut(words, " ")
	if second {
		return other
	}
	return first
}

// createdTag reads a tag's id or name; whether the CRM has it is for the doctor.
func (s *settings) createdTag() string {
	const name = "SPILLWAY_CREATED_TAG"
	tag := s.text(name)
	switch {
	case strings.ContainsFunc(tag, func(r rune) bool { return r < ' ' || r == 0x7f }):
		s.problem(name, ": holds a line break or a control character, write the tag's id or its name on one line")
		return ""
	case strings.Contains(tag, ",") && strings.Trim(tag, "0123456789, ") == "":
		s.wrong(name, tag, "a list of ids, keep one")
		return ""
	}
	return tag
}

func (s *settings) returnFields(c *OfSite) {
	const name = "SPILLWAY_RETURN_FIELDS"
	taken := map[string]string{c.ReturnPasswordField: "the password"}
	for _, element := range splitList(s.text(name)) {
		key, field, _ := strings.Cut(element, "=")
		key, field = strings.TrimSpace(key), strings.TrimSpace(field)
		switch {
		case key != "user_login" && key != "user_id":
			s.wrong(name, element, "only user_login and user_id are returned, write user_login=crm_field,user_id=crm_field")
		case field == "":
			s.wrong(name, element, "no CRM field, write %s=crm_field", key)
		case c.ReturnFields[key] != "":
			s.wrong(name, element, "%s is returned twice, keep one", key)
		case taken[field] != "":
			s.wrong(name, element, "the CRM field %s already receives %s, use another", field, taken[field])
		default:
			if c.ReturnFields == nil {
				c.ReturnFields = make(map[string]string)
			}
			c.ReturnFields[key], taken[field] = field, key
		}
	}
}

func (s *settings) roles(c *OfSite) {
	const name = "SPILLWAY_ROLES_ALLOWED"
	c.RolesAllowed = splitList(s.text(name))
	if !s.given(name) {
		c.RolesAllowed = []string{"subscriber", "customer"}
	}
	if slices.ContainsFunc(c.RolesAllowed, func(role string) bool { return strings.EqualFold(role, "administrator") }) {
		s.problem(name, ": holds administrator, which no webhook may give, remove it")
	}
	if role := s.text("SPILLWAY_DEFAULT_ROLE"); role != "" {
		c.DefaultRole = role
		if !slices.Contains(c.RolesAllowed, role) {
			s.wrong("SPILLWAY_DEFAULT_ROLE", role, "not in SPILLWAY_ROLES_ALLOWED, add it there or use one of: %s", strings.Join(c.RolesAllowed, ", "))
		}
	}
}

const (
	defaultAdminAddr  = "127.0.0.1:8081"
	defaultWorkerAddr = "127.0.0.1:8082"
)

func (s *settings) addresses(c *Config, role Role) {
	if role.ingests() {
		c.IngestAddr = s.address("SPILLWAY_INGEST_ADDR", ":8080")
		c.AdminAddr = s.address("SPILLWAY_ADMIN_ADDR", defaultAdminAddr)
		c.AdminPassword = s.secret("SPILLWAY_ADMIN_PASSWORD")
		host, _, err := net.SplitHostPort(c.AdminAddr)
		if err == nil && !isLoopback(host) && !s.given("SPILLWAY_ADMIN_PASSWORD") {
			s.wrong("SPILLWAY_ADMIN_ADDR", c.AdminAddr, "open to other machines without a password, set SPILLWAY_ADMIN_PASSWORD or listen on 127.0.0.1")
		}
	}
	if role.works() {
		c.WorkerAddr = s.address("SPILLWAY_WORKER_ADDR", defaultWorkerAddr)
	}
	seen := map[string]string{}
	for _, listener := range []struct{ name, addr string }{
		{"SPILLWAY_INGEST_ADDR", c.IngestAddr}, {"SPILLWAY_ADMIN_ADDR", c.AdminAddr}, {"SPILLWAY_WORKER_ADDR", c.WorkerAddr},
	} {
		// Port 0 is a free port, another one each time.
		if listener.addr == "" || strings.HasSuffix(listener.addr, ":0") {
			continue
		}
		if other := seen[listener.addr]; other != "" {
			s.wrong(listener.name, listener.addr, "the same as %s, use another port", other)
		}
		seen[listener.addr] = listener.name
	}
}

func (s *settings) logging(c *Config) {
	c.LogLevel, c.LogFormat = zerolog.InfoLevel, "json"
	if level := strings.ToLower(s.text("SPILLWAY_LOG_LEVEL")); level != "" {
		if !slices.Contains([]string{"trace", "debug", "info", "warn", "error"}, level) {
			s.wrong("SPILLWAY_LOG_LEVEL", level, "unknown level, use trace, debug, info, warn or error")
		} else if parsed, err := zerolog.ParseLevel(level); err == nil {
			c.LogLevel = parsed
		}
	}
	if format := strings.ToLower(s.text("SPILLWAY_LOG_FORMAT")); format != "" {
		c.LogFormat = format
		if format != "json" && format != "console" {
			s.wrong("SPILLWAY_LOG_FORMAT", format, "unknown format, use json or console")
		}
	}
}

// decodeKey accepts base64 with either alphabet, padded or not, as commands
// that make keys differ in that. Nil: not 32 bytes.
func decodeKey(encoded string) []byte {
	encoded = strings.TrimRight(strings.TrimSpace(encoded), "=")
	encoded = strings.NewReplacer("-", "+", "_", "/").Replace(encoded)
	key, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil || len(key) != 32 {
		return nil
	}
	return key
}

func splitList(s string) []string {
	var list []string
	for element := range strings.SplitSeq(s, ",") {
		if element = strings.TrimSpace(element); element != "" {
			list = append(list, element)
		}
	}
	return list
}
