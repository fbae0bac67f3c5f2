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
// defaults stand in the help text, as "(default VALUE)", and are applied after
// the environment. group is the heading in --help and in [Example], example a
// value for a setting that has no default.
type Flags struct {
	RedisURL            string `name:"redis-url" placeholder:"URL" help:"Redis: redis://, rediss://, redis-sentinel://, redis-cluster://, unix:///PATH of a socket, or embedded (default redis://127.0.0.1:6379/0). One with a password belongs in the environment." group:"Redis"`
	CRMURL              string `name:"crm-url" placeholder:"URL" help:"The CRM account, such as https://app.ACCOUNT.thepulsespot.com." group:"The CRM" example:"https://app.ACCOUNT.thepulsespot.com" scope:"site"`
	CRMTokenURL         string `name:"crm-token-url" placeholder:"URL" help:"Where OAuth tokens are renewed (default: the CRM's portal)." group:"The CRM" scope:"site"`
	CRMRate             string `name:"crm-rate" placeholder:"N" help:"CRM calls per second over all replicas (default 40)." group:"The CRM" scope:"site"`
	CRMConcurrency      string `name:"crm-concurrency" placeholder:"N" help:"CRM calls at once per worker (default 16)." group:"The CRM" scope:"site"`
	SiteURL             string `name:"site-url" placeholder:"URL" help:"The WordPress site; https://USER:PASSWORD@HOST if its web server asks for them (Basic authentication)." group:"The site" example:"https://www.example.com" scope:"site"`
	Mode                string `name:"mode" placeholder:"MODE" help:"How contacts get to the site: connector (Spillway's plugin stores them), observe (the plugin says what it would do and nothing is written anywhere, while WP Fusion goes on) or relay (WP Fusion's own endpoint is called, with the first of SPILLWAY_ACCESS_KEYS; needs neither the plugin nor the CRM) (default connector)." group:"The site" scope:"site"`
	SiteUser            string `name:"site-user" placeholder:"NAME" help:"The WordPress user that the application password belongs to." group:"The site" example:"spillway" scope:"site"`
	SiteBatch           string `name:"site-batch" placeholder:"N" help:"Contacts per request to the site (default 50)." group:"The site" scope:"site"`
	SiteConcurrency     string `name:"site-concurrency" placeholder:"N" help:"Requests to the site at once over all replicas (default 1)." group:"The site" scope:"site"`
	SiteProbeURL        string `name:"site-probe-url" placeholder:"URL" help:"A page of the site that must stay fast (default: none)." group:"The site" scope:"site"`
	Fields              string `name:"fields" placeholder:"LIST" help:"wordpress_key=crm_field[:type], comma-separated (default user_email=email,first_name=first_name,last_name=last_name)." group:"What is stored and returned" scope:"site"`
	ReturnPasswordField string `name:"return-password-field" placeholder:"FIELD" help:"CRM field that receives generated passwords (default: none)." group:"What is stored and returned" scope:"site"`
	ReturnFields        string `name:"return-fields" placeholder:"LIST" help:"user_login=crm_field,user_id=crm_field (default: none)." group:"What is stored and returned" scope:"site"`
	CreatedTag          string `name:"created-tag" placeholder:"TAG" help:"A tag of the CRM, by id or name, that a contact gets once its user is created and the password returned (default: none)." group:"What is stored and returned" scope:"site"`
	CreationLimit       string `name:"creation-limit" placeholder:"N" help:"How many users may be created within an hour; further ones are parked until a person allows or drops them. 0: any number (default 1000)." group:"What is stored and returned" scope:"site"`
	RolesAllowed        string `name:"roles-allowed" placeholder:"LIST" help:"Roles that a webhook may give (default subscriber,customer)." group:"What is stored and returned" scope:"site"`
	DefaultRole         string `name:"default-role" placeholder:"ROLE" help:"Role of a new user otherwise (default: the site's own)." group:"What is stored and returned" scope:"site"`
	Login               string `name:"login" placeholder:"FORMAT" help:"The login of a new user whose contact has none, as WP Fusion's setting: email, flname (first and last name) or fnamenum (first name and a number) (default email)." group:"What is stored and returned" scope:"site"`
	Notify              string `name:"notify" placeholder:"WHEN" help:"Which new users get WordPress's login details by mail: asked (where the webhook has send_notification) or always (default asked)." group:"What is stored and returned" scope:"site"`
	DeletedContacts     string `name:"deleted-contacts" placeholder:"WHAT" help:"The user of a contact that the CRM has no more: keep, or clear_tags once the CRM has said so twice, ten minutes apart (default keep)." group:"What is stored and returned" scope:"site"`
	Reconcile           string `name:"reconcile" placeholder:"CRON" help:"When workers compare the CRM's tags with the site's, once over all of them: a cron expression such as 30 3 * * *, in UTC, or in a zone with CRON_TZ=Europe/Berlin before it (default: never)." group:"What is stored and returned" scope:"site"`
	PublicURL           string `name:"public-url" placeholder:"URL" help:"Where webhooks reach Spillway from outside; spillway doctor tries it (default: not tried)." group:"Webhooks"`
	TrustedProxies      string `name:"trusted-proxies" placeholder:"LIST" help:"Addresses and ranges whose X-Forwarded-For is believed (default: none)." group:"Webhooks"`
	AnswerWait          string `name:"answer-wait" placeholder:"TIME" help:"How long the answer to an add waits for the user and its password, at most 30s; 0: not at all. wait=SECONDS in a webhook's address asks for another wait, for any action (default 4s)." group:"Webhooks" scope:"site"`
	AnswerWaiters       string `name:"answer-waiters" placeholder:"N" help:"How many answers wait at a time, in each ingest process; 0: none (default 200)." group:"Webhooks"`
	IngestAddr          string `name:"ingest-addr" placeholder:"ADDR" help:"Where webhooks arrive (default :8080)." group:"Programs"`
	AdminAddr           string `name:"admin-addr" placeholder:"ADDR" help:"Dashboard, admin API, health, metrics (default 127.0.0.1:8081)." group:"Programs"`
	MonitorWritable     string `name:"monitor-writable" placeholder:"BOOL" help:"Let asynq's monitor change tasks (default false)." group:"Programs"`
	WorkerAddr          string `name:"worker-addr" placeholder:"ADDR" help:"A worker's health and metrics (default 127.0.0.1:8082)." group:"Programs"`
	WorkerConcurrency   string `name:"worker-concurrency" placeholder:"N" help:"Contacts under way per worker (default 64)." group:"Programs"`
	Sites               string `name:"sites" placeholder:"FOLDER" help:"A folder with a file NAME.env of settings for each site, where there are several; see docs/sites.md (default: one site, whose settings stand beside these)." group:"Programs"`
	Queues              string `name:"queues" placeholder:"N" help:"Over how many queues contacts are spread, the same for all programs; more than one is for a Redis Cluster (default 1)." group:"Programs"`
	Settle              string `name:"settle" placeholder:"TIME" help:"How long a contact must have been without a webhook before its pass, such as 1s (default 0)." group:"Programs" scope:"site"`
	LogLevel            string `name:"log-level" placeholder:"LEVEL" help:"trace, debug, info, warn or error (default info)." group:"Programs"`
	LogFormat           string `name:"log-format" placeholder:"FORMAT" help:"json or console (default json)." group:"Programs"`
}

// secrets are the settings without a flag, since ps would show them.
func secrets() []string { return flagless(true) }

// certificates are the settings without a flag, since they are texts of many
// lines, usually given as NAME_FILE.
func certificates() []string { return flagless(false) }

func flagless(secret bool) []string {
	var names []string
	for _, setting := range flaglessSettings() {
		if setting.Secret == secret {
			names = append(names, setting.Name)
		}
	}
	return names
}

// Names returns the variables of all settings, sorted.
func Names() []string {
	names := append(secrets(), certificates()...)
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
		kong.Description(description+" "+strings.Join(secrets(), ", ")+"; nor have certificates: "+strings.Join(certificates(), ", ")+"."),
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
