package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"spillway/internal/contact"
	"spillway/internal/lab/sandbox"
)

// tenant is a site of the installation: a WordPress and a CRM account. With several
// their contacts have the same ids.
type tenant struct {
	name, key string
	crm       *sandbox.CRM
	site      *sandbox.Site
	watch     *watch
}

func newTenant(name, key string) *tenant {
	return &tenant{
		name: name, key: key, crm: sandbox.NewCRM(sandbox.CRMOptions{Token: crmToken, Latency: crmLatency}),
		site: sandbox.NewSite(sandbox.SiteOptions{
			User: siteUser, AppPassword: appPassword, StartCost: siteStart, ContactCost: siteContact,
		}),
		watch: newWatch(),
	}
}

// tenants are all sites, first the one that a run always has.
func (r *run) tenants() []*tenant {
	first := &tenant{name: contact.DefaultSite, key: accessKey, crm: r.crm, site: r.site, watch: r.watch}
	return append([]*tenant{first}, r.others...)
}

// of returns a contact's site.
func (r *run) of(p *person) *tenant {
	if p.tenant != nil {
		return p.tenant
	}
	return r.tenants()[0]
}

func (r *run) several() bool { return len(r.others) > 0 }

// populate makes the contacts of all sites, in turn, and poisons one of each.
func (r *run) populate(random *rand.Rand) {
	tenants := r.tenants()
	each := max(r.options.Contacts/len(tenants), 1)
	var all [][]*person
	for i, of := range tenants {
		own := people(each, random)
		for _, p := range own {
			if i > 0 {
				p.tenant, p.email = of, fmt.Sprintf("person%d.%s@example.org", p.id, of.name)
			}
			if p.poisoned {
				of.site.Poison(p.ref())
			}
		}
		all = append(all, own)
	}
	for n := range each {
		for _, own := range all {
			r.people = append(r.people, own[n])
		}
	}
}

// query chooses a site in the admin API, if there are several.
func (r *run) query(of *tenant) string {
	if !r.several() {
		return ""
	}
	return "?site=" + of.name
}

// siteFiles writes the files of the sites for one program, which has doors of its
// own to each, and returns the settings that name them.
func (r *run) siteFiles(program string, lines func(of *tenant) ([]string, error)) ([]string, error) {
	folder := filepath.Join(r.options.Dir, "sites-of-"+program)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	for _, of := range r.tenants() {
		own, err := lines(of)
		if err != nil {
			return nil, err
		}
		for i, line := range own {
			name, value, _ := strings.Cut(line, "=")
			own[i] = name + "='" + value + "'"
		}
		if err := os.WriteFile(filepath.Join(folder, of.name+".env"), []byte(strings.Join(own, "\n")+"\n"), 0o600); err != nil {
			return nil, err
		}
	}
	return []string{"SPILLWAY_SITES=" + folder}, nil
}

// doors opens a worker's own doors to a site and its CRM, each behind a link, and
// returns their addresses.
func (r *run) doors(p *process, of *tenant, observer observer) (urls map[string]string, err error) {
	urls = map[string]string{}
	for _, to := range []string{"crm", "site"} {
		f, err := openFront(p, r.standIn(of, to), observer)
		if err != nil {
			return nil, err
		}
		r.fronts = append(r.fronts, f)
		name := p.name + " to " + to
		if r.several() {
			name += " of " + of.name
		}
		l, err := r.network.connect(name, f.addr)
		if err != nil {
			return nil, err
		}
		r.addLink(to, l)
		urls[to] = "http://" + l.addr
	}
	return urls, nil
}

func (r *run) standIn(of *tenant, name string) http.Handler {
	switch {
	case name == "crm":
		return of.crm
	case r.door != nil:
		return r.door
	}
	return of.site
}

// stats asks an ingest server that answers, of all sites.
func (r *run) stats(ctx context.Context) (sum counters, err error) {
	for _, of := range r.tenants() {
		var one counters
		for _, admin := range r.admins {
			if err = getJSON(ctx, "http://"+admin+"/api/v1/stats"+r.query(of), &one); err == nil {
				break
			}
		}
		if err != nil {
			return sum, err
		}
		sum.Pending += one.Pending
		sum.Active += one.Active
		sum.Retrying += one.Retrying
		sum.Parked += one.Parked
		sum.Failed += one.Failed
	}
	return sum, nil
}

// turn is the site that the next event hits, one after the other.
func (c *chaos) turn() *tenant {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.run.tenants()
	c.turns++
	return all[c.turns%len(all)]
}
