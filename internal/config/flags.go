package config

import (
	"bytes"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Flags are the settings that may stand on a command line: all but the
// secrets. A program with commands embeds them in its own kong struct
// (`embed:""`) and calls [Flags.Config]. An empty flag counts as unset, so
// defaults stand in the help text and are applied after the environment.
type Flags struct {
	RedisURL            string `name:"redis-url" placeholder:"URL" help:"Redis: redis://, rediss://, redis-sentinel://, redis-cluster://, or embedded (default redis://127.0.0.1:6379/0). One with a password belongs in the environment."`
	CRMURL              string `name:"crm-url" placeholder:"URL" help:"The CRM account, such as https://app.ACCOUNT.thepulsespot.com."`
	CRMTokenURL         string `name:"crm-token-url" placeholder:"URL" help:"Where OAuth tokens are renewed (default: the CRM's portal)."`
	CRMRate             string `name:"crm-rate" placeholder:"N" help:"CRM calls per second over all replicas (default 40)."`
	CRMConcurrency      string `name:"crm-concurrency" placeholder:"N" help:"CRM calls at once per worker (default 16)."`
	SiteURL             string `name:"site-url" placeholder:"URL" help:"The WordPress site."`
	SiteUser            string `name:"site-user" placeholder:"NAME" help:"The WordPress user that the application password belongs to."`
	SiteBatch           string `name:"site-batch" placeholder:"N" help:"Contacts per request to the site (default 50)."`
	SiteConcurrency     string `name:"site-concurrency" placeholder:"N" help:"Requests to the site at once over all replicas (default 1)."`
	SiteProbeURL        string `name:"site-probe-url" placeholder:"URL" help:"A page of the site that must stay fast (default: none)."`
	Fields              string `name:"fields" placeholder:"LIST" help:"wordpress_key=crm_field[:type], comma-separated (default user_email=email,first_name=first_name,last_name=last_name)."`
	ReturnPasswordField string `name:"return-password-field" placeholder:"FIELD" help:"CRM field that receives generated passwords (default: none)."`
	ReturnFields        string `name:"return-fields" placeholder:"LIST" help:"user_login=crm_field,user_id=crm_field (default: none)."`
	RolesAllowed        string `name:"roles-allowed" placeholder:"LIST" help:"Roles that a webhook may give (default subscriber,customer)."`
	DefaultRole         string `name:"default-role" placeholder:"ROLE" help:"Role of a new user otherwise (default: the site's own)."`
	IngestAddr          string `name:"ingest-addr" placeholder:"ADDR" help:"Where webhooks arrive (default :8080)."`
	AdminAddr           string `name:"admin-addr" placeholder:"ADDR" help:"Dashboard, admin API, health, metrics (default 127.0.0.1:8081)."`
	MonitorWritable     string `name:"monitor-writable" placeholder:"BOOL" help:"Let asynq's monitor change tasks (default false)."`
	WorkerAddr          string `name:"worker-addr" placeholder:"ADDR" help:"A worker's health and metrics (default 127.0.0.1:8082)."`
	WorkerConcurrency   string `name:"worker-concurrency" placeholder:"N" help:"Contacts under way per worker (default 64)."`
	Queues              string `name:"queues" placeholder:"N" help:"Over how many queues contacts are spread, the same for all programs; more than one is for a Redis Cluster (default 1)."`
	Settle              string `name:"settle" placeholder:"TIME" help:"How long a contact must have been without a webhook before its pass, such as 1s (default 0)."`
	LogLevel            string `name:"log-level" placeholder:"LEVEL" help:"trace, debug, info, warn or error (default info)."`
	LogFormat           string `name:"log-format" placeholder:"FORMAT" help:"json or console (default json)."`
}

// secrets are the settings without a flag.
func secrets() []string {
	return []string{
		"SPILLWAY_ACCESS_KEYS", "SPILLWAY_CRM_TOKEN", "SPILLWAY_CRM_CLIENT_ID", "SPILLWAY_CRM_CLIENT_SECRET",
		"SPILLWAY_CRM_REFRESH_TOKEN", "SPILLWAY_SITE_APP_PASSWORD", "SPILLWAY_SECRET_KEY", "SPILLWAY_SEARCH_KEY",
		"SPILLWAY_ADMIN_PASSWORD",
	}
}

// Names returns the variables of all settings, sorted.
func Names() []string {
	names := secrets()
	for name := range (Flags{}).values() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// values returns the flags by the variable that each one overrides.
func (f Flags) values() map[string]string {
	values := make(map[string]string)
	given := reflect.ValueOf(f)
	for i := range given.NumField() {
		values[variable(given.Type().Field(i).Tag.Get("name"))] = given.Field(i).String()
	}
	return values
}

func variable(flag string) string {
	return "SPILLWAY_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func flagOf(variable string) string {
	return "--" + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, "SPILLWAY_"), "_", "-"))
}

// Usage is the error of a command line that asks for help.
type Usage struct{ Text string }

func (u *Usage) Error() string { return u.Text }

const description = `Each flag is also an environment variable: SPILLWAY_ and the flag's name in capitals, with _ for -. ` +
	`With _FILE after it the variable names a file that holds the value. ` +
	`Secrets have no flag, since other users of the machine could read them in ps:`

func parseFlags(args []string) (Flags, error) {
	for _, arg := range args {
		name, _, _ := strings.Cut(arg, "=")
		for _, secret := range secrets() {
			if name == flagOf(secret) {
				return Flags{}, &Invalid{Problems: []string{name + ": secrets have no flag, since other users of the machine could read them in ps: set " + secret + " or " + secret + "_FILE"}}
			}
		}
	}
	var flags Flags
	var help bytes.Buffer
	asked := false
	parser, err := kong.New(&flags,
		kong.Description(description+" "+strings.Join(secrets(), ", ")+"."),
		kong.Writers(&help, &help),
		kong.Exit(func(int) { asked = true }),
	)
	if err != nil {
		return Flags{}, err
	}
	_, err = parser.Parse(args)
	switch {
	case asked:
		return Flags{}, &Usage{Text: help.String()}
	case err != nil:
		return Flags{}, &Invalid{Problems: []string{err.Error() + ": --help lists the flags"}}
	}
	return flags, nil
}
