package localrun

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"spillway/internal/config"
	"spillway/internal/lab/sandbox"
	"spillway/internal/sites"
)

// passwordField is the stand-in CRM's field for generated passwords.
const passwordField = "wp_password"

// standIn is a site that a run shows: a CRM account and a WordPress site that are
// none, with the settings that Spillway reaches them by.
type standIn struct {
	settings config.Config
	stand    *sandbox.Running
}

// severalSites returns the settings of an installation of several sites, whose
// files are written once the stand-ins run. Settings of a site in environ are an
// error: each site has its own.
func severalSites(options Options, environ []string) (config.Config, error) {
	folder, err := filepath.Abs(filepath.Join(options.Folder, "sandbox", "sites"))
	if err != nil {
		return config.Config{}, fmt.Errorf("finding the folder of the sites: %w", err)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return config.Config{}, fmt.Errorf("making the folder of the sites: %w", err)
	}
	return options.Flags.Config(config.All, append([]string{"SPILLWAY_SITES=" + folder}, environ...))
}

// forThisMachine gives a demonstration the keys it needs and keeps it off the
// network.
func forThisMachine(settings *config.Config) {
	for _, key := range []*[]byte{&settings.SecretKey, &settings.SearchKey} {
		if len(*key) == 0 {
			*key = make([]byte, 32)
			_, _ = rand.Read(*key) // never fails, see crypto/rand
		}
	}
	if host, port, err := net.SplitHostPort(settings.IngestAddr); err == nil && host == "" {
		settings.IngestAddr = net.JoinHostPort("127.0.0.1", port)
	}
}

// standIns starts a CRM and a site for each site of an installation, and points
// the settings, or the sites' files, at them. After an error it returns those
// that run.
func standIns(settings *config.Config, several int) (shown []standIn, err error) {
	if settings.SitesFolder == "" {
		stand, err := start(settings)
		if err != nil {
			return nil, err
		}
		return []standIn{{*settings, stand}}, nil
	}
	running := make(map[string]*sandbox.Running)
	for i := range several {
		name := fmt.Sprintf("site-%d", i+1)
		var one config.Config
		stand, err := start(&one)
		if err != nil {
			return shown, err
		}
		shown = append(shown, standIn{one, stand})
		running[name] = stand
		path := filepath.Join(settings.SitesFolder, name+".env")
		if err := os.WriteFile(path, []byte(strings.Join(siteLines(one), "\n")+"\n"), 0o600); err != nil {
			return shown, fmt.Errorf("writing the settings of %s: %w", name, err)
		}
	}
	all, err := sites.Read(*settings, config.All)
	if err != nil {
		return shown, err
	}
	for i, site := range all {
		shown[i] = standIn{site, running[site.Name]}
	}
	return shown, nil
}

// start starts the stand-ins of one site and points its settings at them. What the
// environment says about limits and mapping stays.
func start(settings *config.Config) (*sandbox.Running, error) {
	token, appPassword := rand.Text(), rand.Text()
	stand, err := sandbox.Serve(sandbox.Options{
		// The latency that WP Fusion was measured with; see docs/performance.md.
		CRM:  sandbox.CRMOptions{Latency: 100 * time.Millisecond, Token: token},
		Site: sandbox.SiteOptions{User: "spillway", AppPassword: appPassword},
	})
	if err != nil {
		return nil, fmt.Errorf("starting the stand-ins: %w", err)
	}
	settings.CRM.URL, settings.CRM.Token = stand.CRMURL, token
	settings.Site.URL, settings.Site.User, settings.Site.AppPassword = stand.SiteURL, "spillway", appPassword
	if settings.CreationLimit == 1000 {
		settings.CreationLimit = 0 // the burst creates more, on purpose
	}
	// The stand-in bears more than a CRM whose limits are unknown.
	if settings.CRM.Rate == 0 || settings.CRM.Rate == 40 {
		settings.CRM.Rate = 500
	}
	if settings.CRM.Concurrency == 0 || settings.CRM.Concurrency == 16 {
		settings.CRM.Concurrency = 64
	}
	if settings.ReturnPasswordField == "" {
		settings.ReturnPasswordField = passwordField
	}
	if len(settings.AccessKeys) == 0 {
		settings.AccessKeys = []string{"sandbox-" + strings.ToLower(rand.Text()[:8])}
	}
	return stand, nil
}

// siteLines are the settings by which a stand-in is reached, as a file has them.
func siteLines(settings config.Config) []string {
	return []string{
		"SPILLWAY_ACCESS_KEYS=" + strings.Join(settings.AccessKeys, ","),
		"SPILLWAY_CRM_URL=" + settings.CRM.URL, "SPILLWAY_CRM_TOKEN=" + settings.CRM.Token,
		fmt.Sprintf("SPILLWAY_CRM_RATE=%g", settings.CRM.Rate), fmt.Sprintf("SPILLWAY_CRM_CONCURRENCY=%d", settings.CRM.Concurrency),
		"SPILLWAY_SITE_URL=" + settings.Site.URL, "SPILLWAY_SITE_USER=" + settings.Site.User,
		"SPILLWAY_SITE_APP_PASSWORD=" + settings.Site.AppPassword,
		"SPILLWAY_RETURN_PASSWORD_FIELD=" + settings.ReturnPasswordField,
		fmt.Sprintf("SPILLWAY_CREATION_LIMIT=%d", settings.CreationLimit),
	}
}

// introduce says which sites there are, if there are several.
func introduce(w io.Writer, shown []standIn) {
	if len(shown) > 1 {
		say(w, "%d sites, each with a CRM account, a queue and an access key of its own:\n", len(shown))
		for _, one := range shown {
			say(w, "  %s   site %s   CRM %s   access key %s\n", one.settings.Name, one.stand.SiteURL, one.stand.CRMURL, one.settings.AccessKeys[0])
		}
	}
	say(w, "\n")
}

// invite says what a person may try.
func invite(w io.Writer, shown []standIn) {
	settings, several := shown[0].settings, len(shown) > 1
	say(w, "\nEverything stays up. Try a webhook, and look what became of it:\n")
	for _, one := range shown {
		say(w, "  curl 'http://%s/?wpf_action=add&access_key=%s&contact_id=17'\n", settings.IngestAddr, one.settings.AccessKeys[0])
		of := ""
		if several {
			of = "?site=" + one.settings.Name
		}
		say(w, "  curl 'http://%s/api/v1/contacts/17%s'\n", settings.AdminAddr, of)
	}
	if several {
		say(w, "All sites at a glance: http://%s/ in a browser, or\n", settings.AdminAddr)
		say(w, "  curl 'http://%s/api/v1/sites'\n", settings.AdminAddr)
		say(w, "Or, in another terminal in this folder: ./bin/spillway doctor, contact 17 --site %s, resync --all-tagged --site %s.\n",
			shown[1].settings.Name, shown[1].settings.Name)
	} else {
		say(w, "Or, in another terminal in this folder: ./bin/spillway doctor, contact 17, resync --all-tagged.\n")
	}
	say(w, "Stop with Ctrl-C.\n")
}
