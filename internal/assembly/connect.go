package assembly

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"spillway/internal/admin"
	"spillway/internal/admin/roster"
	"spillway/internal/config"
	"spillway/internal/operate/connect"
	"spillway/internal/site"
	"spillway/internal/sites"
)

// connector sets sites up for the dashboard, as `spillway connect` does. It writes
// only where there is a folder of sites that this process may write, and only
// what needs nothing more from a person: a file that lacks something would keep
// the programs from their next start. For everything else it names the command.
//
// A code leaves this machine over HTTPS, or to this machine itself, and no
// redirect is followed.
type connector struct {
	rdb      redis.UniversalClient
	settings config.Config
	mu       sync.Mutex // one code at a time
}

func newConnector(rdb redis.UniversalClient, settings config.Config) *connector {
	return &connector{rdb: rdb, settings: settings}
}

// Connect is called by the dashboard.
func (c *connector) Connect(ctx context.Context, pasted string) (admin.Connected, error) {
	code, err := connect.ParseCode(pasted)
	if err != nil {
		return admin.Connected{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	folder, name := c.settings.SitesFolder, code.SiteName()
	if folder == "" {
		return admin.Connected{}, &admin.ByHand{
			Why: "This installation has one site, whose settings ingest may not write", Command: "spillway connect -",
		}
	}
	command := "spillway connect - --site " + name
	path := filepath.Join(folder, name+".env")
	if err := connect.Conflict(path); err != nil {
		return admin.Connected{}, &admin.ByHand{Why: "There is a file of the site " + name + " already", Command: command + " --replace"}
	}
	if !writable(folder) {
		return admin.Connected{}, &admin.ByHand{Why: "Ingest may read the settings of sites and not write them", Command: command}
	}
	plan, err := c.plan(ctx, code, true)
	if err != nil {
		return admin.Connected{}, err
	}
	if missing := plan.Missing(); len(missing) > 0 {
		return admin.Connected{}, &admin.ByHand{Why: "The code does not bring " + strings.Join(missing, ", ") + ", which you have to add", Command: command}
	}
	if err := c.check(name, plan); err != nil {
		return admin.Connected{}, &admin.ByHand{Why: "What the code brings needs a hand: " + strings.ReplaceAll(err.Error(), "\n", "; "), Command: command}
	}
	if plan, err = c.plan(ctx, code, false); err != nil {
		return admin.Connected{}, err
	}
	if err := c.write(path, plan); err != nil {
		return admin.Connected{}, fmt.Errorf("%w. The code is used up: press Disconnect under Tools » Spillway, and make another", err)
	}
	done := admin.Connected{Site: name}
	for _, remark := range plan.Remarks {
		done.Remarks = append(done.Remarks, admin.ConnectRemark{Setting: remark.Setting, Verdict: string(remark.Verdict), Text: remark.Text})
	}
	return done, nil
}

// plan asks the site what its code brings.
func (c *connector) plan(ctx context.Context, code connect.Code, dry bool) (connect.Plan, error) {
	given, err := site.Connect(ctx, site.Exchange{URL: code.Site, Secret: code.Secret, DryRun: dry, Roots: c.settings.Roots})
	if err != nil {
		return connect.Plan{}, err
	}
	seals, err := c.seals(ctx)
	if err != nil {
		return connect.Plan{}, err
	}
	return connect.NewPlan(given, connect.Options{
		Site: code.Site, Shared: true, Given: func(name string) bool { return name == secretKey && seals },
	}), nil
}

const secretKey = "SPILLWAY_SECRET_KEY"

// seals reports whether the workers have a key to seal passwords with. Ingest has
// none; the workers say so on the list of replicas.
func (c *connector) seals(ctx context.Context) (bool, error) {
	replicas, err := roster.New(c.rdb).List(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(replicas, func(replica roster.Replica) bool {
		return replica.Role == roster.Worker && replica.Alive &&
			slices.ContainsFunc(replica.Settings, func(setting roster.Setting) bool { return setting.Name == secretKey })
	}), nil
}

// check finds what the programs would refuse, before the code is used up. A dry
// run has no password.
func (c *connector) check(name string, plan connect.Plan) error {
	const keyLength = 32
	installation := c.settings
	installation.SecretKey = make([]byte, keyLength) // Missing has asked for it
	_, err := installation.WithSite(config.Worker, name, append([]string{"SPILLWAY_SITE_APP_PASSWORD=x"}, plan.Environ()...))
	return err
}

// write writes the file of a site that all sites can be read with.
func (c *connector) write(path string, plan connect.Plan) error {
	if err := plan.Write(path, false); err != nil {
		return err
	}
	if _, err := sites.Read(c.settings, config.Ingest); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// writable tries whether this process may write into a folder.
func writable(folder string) bool {
	file, err := os.CreateTemp(folder, ".connect")
	if err != nil {
		return false
	}
	return errors.Join(file.Close(), os.Remove(file.Name())) == nil
}
