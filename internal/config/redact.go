package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
)

// Setting is a setting as it may be shown. For secrets and user names it only
// says whether they are set.
type Setting struct{ Name, Value string }

// Settings lists the settings that are not empty.
func (c Config) Settings() []Setting {
	list := []Setting{
		{"SPILLWAY_REDIS_URL", withoutCredentials(c.RedisURL)},
		{"SPILLWAY_QUEUES", count(c.Queues)},
		{"SPILLWAY_SITES", c.SitesFolder},
		{"SPILLWAY_TRUSTED_PROXIES", strings.Trim(fmt.Sprint(c.TrustedProxies), "[]")},
	}
	if c.Certificate != nil {
		list = append(list, Setting{"SPILLWAY_TLS_CERT", hidden("x")}, Setting{"SPILLWAY_TLS_KEY", hidden("x")})
	}
	if c.AnswerWait > 0 || c.AnswerWaiters > 0 {
		list = append(list, Setting{"SPILLWAY_ANSWER_WAITERS", strconv.Itoa(c.AnswerWaiters)})
	}
	if c.Roots != nil {
		list = append(list, Setting{"SPILLWAY_CA", hidden("x")})
	}
	list = append(list, c.settings(c.AnswerWaiters > 0)...)
	list = append(list, []Setting{
		{"SPILLWAY_SECRET_KEY", hidden(string(c.SecretKey))},
		{"SPILLWAY_PUBLIC_URL", c.PublicURL},
		{"SPILLWAY_SEARCH_KEY", hidden(string(c.SearchKey))},
		{"SPILLWAY_INGEST_ADDR", c.IngestAddr},
		{"SPILLWAY_ADMIN_ADDR", c.AdminAddr},
		{"SPILLWAY_WORKER_ADDR", c.WorkerAddr},
		{"SPILLWAY_WORKER_CONCURRENCY", count(c.WorkerConcurrency)},
		{"SPILLWAY_ADMIN_PASSWORD", hidden(c.AdminPassword + c.SitePassword)},
		{"SPILLWAY_MONITOR_WRITABLE", on(c.MonitorWritable)},
		{"SPILLWAY_LOG_LEVEL", c.LogLevel.String()},
		{"SPILLWAY_LOG_FORMAT", c.LogFormat},
	}...)
	return withoutEmpty(list)
}

// settings lists what stands in the file of a site. waits says that a wait of
// none is worth showing.
func (c OfSite) settings(waits bool) []Setting {
	list := []Setting{
		{"SPILLWAY_MODE", string(c.Mode)},
		{"SPILLWAY_SETTLE", c.Settle.String()},
		{"SPILLWAY_ACCESS_KEYS", count(len(c.AccessKeys))},
	}
	if c.AnswerWait > 0 || waits {
		list = append(list, Setting{"SPILLWAY_ANSWER_WAIT", c.AnswerWait.String()})
	}
	list = append(list, c.CRM.settings()...)
	list = append(list, c.Site.settings()...)
	var fields, returned []string
	for _, field := range c.Fields {
		fields = append(fields, field.WordPress+"="+field.CRM+":"+string(field.Type))
	}
	for key, field := range c.ReturnFields {
		returned = append(returned, key+"="+field)
	}
	slices.Sort(returned)
	return append(list, []Setting{
		{"SPILLWAY_FIELDS", strings.Join(fields, ",")},
		{"SPILLWAY_RETURN_PASSWORD_FIELD", c.ReturnPasswordField},
		{"SPILLWAY_RETURN_FIELDS", strings.Join(returned, ",")},
		{"SPILLWAY_CREATED_TAG", c.CreatedTag},
		{"SPILLWAY_ROLES_ALLOWED", strings.Join(c.RolesAllowed, ",")},
		{"SPILLWAY_DEFAULT_ROLE", c.DefaultRole},
		{"SPILLWAY_CREATION_LIMIT", count(c.CreationLimit)},
		{"SPILLWAY_LOGIN", c.Login},
		{"SPILLWAY_NOTIFY", chosen(c.NotifyAlways, notifyChoices)},
		{"SPILLWAY_DELETED_CONTACTS", chosen(c.ClearDeleted, deletedChoices)},
		{"SPILLWAY_RECONCILE", c.Reconcile},
	}...)
}

func (c CRM) settings() []Setting {
	return []Setting{
		{"SPILLWAY_CRM_URL", c.URL},
		{"SPILLWAY_CRM_TOKEN", hidden(c.Token)},
		{"SPILLWAY_CRM_CLIENT_ID", hidden(c.ClientID)},
		{"SPILLWAY_CRM_CLIENT_SECRET", hidden(c.ClientSecret)},
		{"SPILLWAY_CRM_REFRESH_TOKEN", hidden(c.RefreshToken)},
		{"SPILLWAY_CRM_TOKEN_URL", c.TokenURL},
		{"SPILLWAY_CRM_RATE", number(c.Rate)},
		{"SPILLWAY_CRM_CONCURRENCY", count(c.Concurrency)},
	}
}

func (c Site) settings() []Setting {
	return []Setting{
		{"SPILLWAY_SITE_URL", c.shownURL()},
		{"SPILLWAY_SITE_USER", hidden(c.User)},
		{"SPILLWAY_SITE_APP_PASSWORD", hidden(c.AppPassword)},
		{"SPILLWAY_SITE_BATCH", count(c.Batch)},
		{"SPILLWAY_SITE_CONCURRENCY", count(c.Concurrency)},
		{"SPILLWAY_SITE_PROBE_URL", withoutQuery(c.ProbeURL)},
	}
}

// shownURL says that user and password are there, and not which.
func (c Site) shownURL() string {
	if c.ServerUser == "" {
		return c.URL
	}
	return strings.Replace(c.URL, "://", "://"+hidden(c.ServerUser)+"@", 1)
}

// String, GoString, MarshalJSON and MarshalZerologObject show what
// [Config.Settings] lists, so that no way of printing a Config shows a secret.
func (c Config) String() string { return join(c.Settings()) }

// GoString is String, for %#v.
func (c Config) GoString() string { return c.String() }

// MarshalJSON shows what [Config.Settings] lists.
func (c Config) MarshalJSON() ([]byte, error) { return marshal(c.Settings()) }

// MarshalZerologObject shows what [Config.Settings] lists.
func (c Config) MarshalZerologObject(e *zerolog.Event) {
	for _, setting := range c.Settings() {
		e.Str(setting.Name, setting.Value)
	}
}

func (c OfSite) String() string { return join(c.settings(false)) }

// GoString is String, for %#v.
func (c OfSite) GoString() string { return c.String() }

// MarshalJSON shows what a Config shows of it.
func (c OfSite) MarshalJSON() ([]byte, error) { return marshal(c.settings(false)) }

func (c CRM) String() string { return join(c.settings()) }

// GoString is String, for %#v.
func (c CRM) GoString() string { return c.String() }

// MarshalJSON shows what a Config shows of it.
func (c CRM) MarshalJSON() ([]byte, error) { return marshal(c.settings()) }

func (c Site) String() string { return join(c.settings()) }

// GoString is String, for %#v.
func (c Site) GoString() string { return c.String() }

// MarshalJSON shows what a Config shows of it.
func (c Site) MarshalJSON() ([]byte, error) { return marshal(c.settings()) }

func join(list []Setting) string {
	var lines []string
	for _, setting := range withoutEmpty(list) {
		lines = append(lines, setting.Name+"="+setting.Value)
	}
	return strings.Join(lines, " ")
}

func marshal(list []Setting) ([]byte, error) {
	values := make(map[string]string)
	for _, setting := range withoutEmpty(list) {
		values[setting.Name] = setting.Value
	}
	return json.Marshal(values)
}

func withoutEmpty(list []Setting) []Setting {
	return slices.DeleteFunc(list, func(s Setting) bool { return s.Value == "" })
}

func hidden(secret string) string {
	if secret == "" {
		return ""
	}
	return "(set)"
}

func on(is bool) string {
	if !is {
		return ""
	}
	return "true"
}

func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func number(f float64) string {
	if f == 0 {
		return ""
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// withoutCredentials keeps scheme, hosts and path of a Redis URL. A sentinel's
// password may stand in the query.
func withoutCredentials(raw string) string {
	raw, _, _ = strings.Cut(raw, "?")
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return raw
	}
	return scheme + "://" + rest[strings.LastIndex(rest, "@")+1:]
}
