package admin

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Front is the admin address of an installation: the dashboards of its sites.
//
// With one site it is that site's dashboard. With several, `?site=NAME` chooses
// one for every page and every route of the API, and the first page without it
// lists them. The password of the installation opens all; that of a site opens
// what has this site's name in its address, and nothing else.
type Front struct {
	base     Options
	attempts *attempts

	mu      sync.Mutex
	sites   []Options
	whole   *Dashboard            // of the installation, if there are several sites
	opened  map[string]*Dashboard // by name, once somebody has asked for it
	running func(*Dashboard)      // lets pages update themselves; nil: nothing runs
}

// NewFront returns an admin address without sites. base holds what is not of one
// site: Redis, Password, Health, Settings, Gone, MonitorWritable and Log.
func NewFront(base Options) *Front {
	return &Front{base: base, attempts: newAttempts(time.Now), opened: make(map[string]*Dashboard)}
}

// SetSites replaces the sites, which are shown in this order.
func (f *Front) SetSites(sites []Options) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.opened {
		close(d.retired) // its browsers come back, with what is true by then
	}
	f.sites, f.opened, f.whole = sites, make(map[string]*Dashboard), nil
}

// Run lets the pages update themselves until ctx ends.
func (f *Front) Run(ctx context.Context) error {
	var all sync.WaitGroup
	f.mu.Lock()
	f.running = func(d *Dashboard) {
		all.Go(func() { _ = d.Run(ctx) })
	}
	for _, d := range f.opened {
		f.running(d)
	}
	f.mu.Unlock()
	<-ctx.Done()
	f.mu.Lock()
	f.running = nil
	f.mu.Unlock()
	all.Wait()
	return nil
}

func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.dashboard(r.URL.Query().Get("site")).ServeHTTP(w, r)
}

// dashboard returns that of a site, or that of the installation.
func (f *Front) dashboard(site string) *Dashboard {
	f.mu.Lock()
	defer f.mu.Unlock()
	several := len(f.sites) > 1
	for _, options := range f.sites {
		if options.Site != site && (several || site != "") {
			continue
		}
		options.several = several
		name := options.Site
		if !several && options.SitePassword != "" {
			// It opens neither what the site's name is not in the address of, nor
			// anything of the whole installation.
			if name = site; site == "" {
				options.SitePassword = ""
			} else {
				options.several = true
			}
		}
		d := f.opened[name]
		if d == nil {
			d = New(options)
			d.attempts = f.attempts
			d.all = []Options{options}
			f.opened[name] = d
			if f.running != nil {
				f.running(d)
			}
		}
		return d
	}
	if f.whole == nil {
		options := f.base
		options.several = several
		f.whole = New(options)
		f.whole.attempts, f.whole.all = f.attempts, f.sites
	}
	return f.whole
}
