// Package torture runs the built programs as processes while everything around
// them fails, and then checks that nothing was lost or doubled.
//
// A run is real where it matters: redis-server (one with an append-only file,
// or a master and a replica with Sentinels), the ingest and worker binaries,
// TCP connections that are cut, slowed and reset. The CRM and the site are the
// stand-ins of package sandbox. The senders edit contacts in the CRM and send a
// webhook for each edit, again until it got a 2xx; some wait for the pass, and
// what they are told is checked at once. Every contact carries a
// version in its fields and one in its tags, so what the site shows at the end
// tells which edits arrived.
//
// Checked after all is calm: every acknowledged webhook's contact shows the
// version that the webhook stood for, or a newer one, whole; no answer said of a
// webhook that it was carried out before it was; no two passes of a contact
// overlapped (see watch); no user exists twice; the password in the CRM
// logs in and was never another; each welcome mail went out once; nothing is
// left in Redis but history and counters; no pass began while the CRM held
// everybody back; the contact that kills the site is
// parked, alone; no password and no address is in a log or in Redis.
//
// Limits: everything runs on one machine, so a machine's crash (a page cache
// that is lost) is not tried. The stand-in site takes one request of a contact
// after the other, so what two of them do to each other inside WordPress is for
// the tests of the plugin.
package torture

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"spillway/internal/contact"
	"spillway/internal/lab/freeport"
	"spillway/internal/lab/sandbox"
)

// Options describe a run.
type Options struct {
	Mode Mode
	Seed uint64
	// Fire is how long things go wrong. From two minutes on a worker is also
	// frozen for longer than lock and lease.
	Fire time.Duration
	// Bin holds the programs, see [Build].
	Bin string
	// Dir is where servers and logs keep their files.
	Dir string
	// Out gets a line of figures every few seconds; nil: nobody does.
	Out io.Writer

	// Sites is how many sites the programs serve, each with a CRM account of its own
	// and contacts of the same ids; 0: one.
	Sites int

	// ClocksApart is how far the wall clocks of workers and ingest go wrong,
	// one ahead and one behind; Bin is then built with it, see [Programs].
	ClocksApart time.Duration

	Contacts int           // of all sites; 0: 120, or 4 for each second of fire if that is more
	Every    time.Duration // between two events, about; 0: 1.2 s, of a long run 2 s
	Pace     time.Duration // between two webhooks of a sender, about; 0: 120 ms
	// Brief leaves it to asynq to find, a minute later, that wake-ups of killed
	// workers have nothing to do.
	Brief bool
	// Calm bounds the wait for the last contact; 0: 4 minutes.
	Calm time.Duration
}

const (
	accessKey   = "torture-access-key-20d4"
	crmToken    = "torture-crm-token-7e31"
	appPassword = "torture app password 55c0"
	siteUser    = "spillway"
	secretKey   = "dG9ydHVyZSB0b3J0dXJlIHRvcnR1cmUgdG9ydHVyZSE="

	passwordField = "wp_password"
	ingestCount   = 2
	workerCount   = 3
	crmRate       = 300

	// What a call of the CRM takes, and a request of the site and a contact in it.
	crmLatency, siteStart, siteContact = 15 * time.Millisecond, 15 * time.Millisecond, 2 * time.Millisecond
)

// run is everything of one run.
type run struct {
	options Options
	people  []*person // of all sites
	crm     *sandbox.CRM
	site    *sandbox.Site
	others  []*tenant    // further sites
	door    http.Handler // to another site in its place; nil: none
	store   store
	network *network
	watch   *watch
	senders *senders
	chaos   *chaos

	ingests, workers []*process
	webhooks, admins []string // addresses
	fronts           []*front
	linksTo          map[string][]string // names by server
	links            map[string]*link
	restarts         int
	began, calmed    time.Time
	drained          time.Duration // after calmed, when the last contact was done
}

// Run runs once. The error is what kept it from coming to its end; what it
// found is in the report.
func Run(ctx context.Context, options Options) (*Report, error) {
	if options.Contacts == 0 {
		options.Contacts = max(120, int(4*options.Fire.Seconds()))
	}
	if options.Every == 0 {
		options.Every = 1200 * time.Millisecond
		if options.Fire >= longRun {
			options.Every = 2 * time.Second
		}
	}
	if options.Pace == 0 {
		options.Pace = 120 * time.Millisecond
	}
	if options.Calm == 0 {
		options.Calm = 4 * time.Minute
	}
	r, err := setUp(ctx, options, workerCount)
	if err != nil {
		return nil, err
	}
	defer r.tearDown()
	return r.do(ctx)
}

// setUp starts everything, with a number of workers.
func setUp(ctx context.Context, options Options, workers int) (r *run, err error) {
	random := rand.New(rand.NewPCG(options.Seed, 0))
	r = &run{
		options: options, network: newNetwork(),
		linksTo: map[string][]string{}, links: map[string]*link{}, began: time.Now(),
	}
	defer func() {
		if err != nil {
			r.tearDown()
		}
	}()
	first := newTenant("", "")
	r.crm, r.site, r.watch = first.crm, first.site, first.watch
	for i := 1; i < options.Sites; i++ {
		name := fmt.Sprintf("site-%d", i+1)
		r.others = append(r.others, newTenant(name, accessKey+"-"+name))
	}
	r.populate(random)
	if err := r.openStore(ctx); err != nil {
		return nil, err
	}
	for i := range ingestCount {
		if err := r.addIngest(fmt.Sprintf("ingest-%d", i+1)); err != nil {
			return nil, err
		}
	}
	for i := range workers {
		if _, err := r.addWorker(fmt.Sprintf("worker-%d", i+1), r.watch); err != nil {
			return nil, err
		}
	}
	r.senders = newSenders(r)
	r.chaos = newChaos(r, options.Seed)
	return r, nil
}

func (r *run) openStore(ctx context.Context) (err error) {
	if r.options.Mode == Sentinel {
		r.store, err = newSentinelSet(ctx, r.options.Dir)
		return err
	}
	r.store, err = newSingle(ctx, r.options.Dir, r.options.Mode)
	return err
}

// redisURL is how a program is to reach Redis: through a link of its own, but
// for a Redis with Sentinels, which tell their clients an address.
func (r *run) redisURL(program string) (string, error) {
	s, ok := r.store.(*single)
	if !ok {
		return r.store.url(program), nil
	}
	l, err := r.network.connect(program+" to redis", s.addr)
	if err != nil {
		return "", err
	}
	r.addLink("redis", l)
	return "redis://" + l.addr + "/0", nil
}

func (r *run) addLink(server string, l *link) {
	r.links[l.name] = l
	r.linksTo[server] = append(r.linksTo[server], l.name)
}

func (r *run) addIngest(name string) error {
	webhooks, err := freeport.Addr()
	if err != nil {
		return err
	}
	admin, err := freeport.Addr()
	if err != nil {
		return err
	}
	redis, err := r.redisURL(name)
	if err != nil {
		return err
	}
	own := []string{"SPILLWAY_ACCESS_KEYS=" + accessKey}
	if r.several() {
		if own, err = r.siteFiles(name, func(of *tenant) ([]string, error) { return []string{"SPILLWAY_ACCESS_KEYS=" + of.key}, nil }); err != nil {
			return err
		}
	}
	env := append(own,
		"SPILLWAY_REDIS_URL="+redis,
		"SPILLWAY_INGEST_ADDR="+webhooks, "SPILLWAY_ADMIN_ADDR="+admin, "SPILLWAY_LOG_LEVEL=debug",
		clock(len(r.ingests), r.options.ClocksApart),
	)
	p := newProcess(name, filepath.Join(r.options.Bin, "ingest"), nil, env, r.options.Dir)
	r.ingests, r.webhooks, r.admins = append(r.ingests, p), append(r.webhooks, webhooks), append(r.admins, admin)
	return p.start()
}

// addWorker starts a worker with its own doors to the CRMs and to the sites, each
// behind a link. observer is told of the first site's calls.
func (r *run) addWorker(name string, observer observer, change ...string) (*process, error) {
	health, err := freeport.Addr()
	if err != nil {
		return nil, err
	}
	p := newProcess(name, filepath.Join(r.options.Bin, "worker"), nil, nil, r.options.Dir)
	settings := func(of *tenant) ([]string, error) {
		told := observer
		if of.name != contact.DefaultSite {
			told = of.watch
		}
		urls, err := r.doors(p, of, told)
		return []string{
			"SPILLWAY_CRM_URL=" + urls["crm"], "SPILLWAY_CRM_TOKEN=" + crmToken, fmt.Sprintf("SPILLWAY_CRM_RATE=%d", crmRate),
			"SPILLWAY_SITE_URL=" + urls["site"], "SPILLWAY_SITE_USER=" + siteUser, "SPILLWAY_SITE_APP_PASSWORD=" + appPassword,
			"SPILLWAY_FIELDS=user_email=email,first_name=first_name,last_name=last_name,billing_company=company",
			"SPILLWAY_RETURN_PASSWORD_FIELD=" + passwordField,
			"SPILLWAY_RETURN_FIELDS=user_login=wp_login,user_id=wp_id",
			"SPILLWAY_SITE_CONCURRENCY=2", "SPILLWAY_CREATION_LIMIT=0",
		}, err
	}
	var own []string
	if r.several() {
		own, err = r.siteFiles(name, settings)
	} else {
		own, err = settings(r.tenants()[0])
	}
	if err != nil {
		return nil, err
	}
	redis, err := r.redisURL(name)
	if err != nil {
		return nil, err
	}
	p.env = append(append(own,
		"SPILLWAY_REDIS_URL="+redis, "SPILLWAY_SECRET_KEY="+secretKey, "SPILLWAY_WORKER_ADDR="+health, "SPILLWAY_LOG_LEVEL=debug",
		clock(len(r.workers), r.options.ClocksApart),
	), change...)
	r.workers = append(r.workers, p)
	return p, p.start()
}

func (r *run) do(ctx context.Context) (*Report, error) {
	fireCtx, calm := context.WithTimeout(ctx, r.options.Fire)
	defer calm()
	watchCtx, stopWatching := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { r.supervise(watchCtx) })
	background.Go(func() { r.show(watchCtx) })
	defer background.Wait()
	defer stopWatching()

	var fire sync.WaitGroup
	fire.Go(func() { r.senders.send(fireCtx, r.options.Seed) })
	// Without a webhook the poisoned contact would show nothing.
	for _, p := range r.people {
		if p.poisoned {
			fire.Go(func() { r.senders.one(p, 3, rand.New(rand.NewPCG(1, 1))) })
		}
	}
	r.chaos.rage(fireCtx)
	r.heal(context.WithoutCancel(ctx))
	fire.Wait()
	r.heal(context.WithoutCancel(ctx))

	r.calmed = time.Now()
	settled := r.settle(ctx)
	held := &Report{}
	if settled == nil && r.options.Fire >= lateRun {
		if err := r.hold(ctx, held); err != nil {
			r.chaos.failed = append(r.chaos.failed, err)
		}
		settled = r.settle(ctx)
	}
	stopWatching()
	report := r.report()
	report.Hurried, report.Problems = held.Hurried, append(report.Problems, held.Problems...)
	report.problem(settled)
	for _, err := range r.chaos.failed {
		report.problem(err)
	}
	r.verify(ctx, report)
	return report, ctx.Err()
}

// supervise starts again what ended by itself, as a service manager does.
func (r *run) supervise(ctx context.Context) {
	for ctx.Err() == nil {
		for _, p := range append(append([]*process{}, r.ingests...), r.workers...) {
			if p.died() {
				r.restarts++
				_ = p.start()
			}
		}
		wait(ctx, 200*time.Millisecond)
	}
}

// heal makes everything well.
func (r *run) heal(ctx context.Context) {
	for _, of := range r.tenants() {
		of.crm.ClearFaults()
		of.site.ClearFaults()
	}
	for _, l := range r.links {
		if err := l.mend(ctx); err != nil {
			r.chaos.failed = append(r.chaos.failed, err)
		}
	}
	for _, p := range append(append([]*process{}, r.ingests...), r.workers...) {
		p.thaw()
		if err := p.start(); err != nil {
			r.chaos.failed = append(r.chaos.failed, err)
		}
	}
}

func (r *run) tearDown() {
	for _, p := range append(append([]*process{}, r.ingests...), r.workers...) {
		p.kill()
	}
	for _, of := range r.tenants() {
		of.crm.Close()
		of.site.Close()
	}
	r.network.close()
	for _, f := range r.fronts {
		f.close()
	}
	if r.store != nil {
		r.store.close()
	}
}

func (r *run) process(name string) *process {
	for _, p := range append(append([]*process{}, r.ingests...), r.workers...) {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (r *run) link(name string) *link { return r.links[name] }

func (r *run) webhookURL(n int) string { return "http://" + r.webhooks[n%len(r.webhooks)] }

// settle waits until no contact has outstanding work but the parked ones, until
// the site has carried out what was given up, and until asynq has delivered the
// wake-ups that outlived their contact's work: it notices those of a killed
// worker a minute later.
func (r *run) settle(ctx context.Context) error {
	client := r.store.client()
	defer client.Close()
	return poll(ctx, r.options.Calm, "waiting for the last contact", func(ctx context.Context) error {
		defer wait(ctx, 200*time.Millisecond)
		stats, err := r.stats(ctx)
		if err != nil {
			return err
		}
		if open := stats.Pending + stats.Active + stats.Retrying; open > 0 {
			return fmt.Errorf("%d contacts have outstanding work (%d pending, %d active, %d retrying)",
				open, stats.Pending, stats.Active, stats.Retrying)
		}
		if r.drained == 0 {
			r.drained = time.Since(r.calmed)
		}
		for _, of := range r.tenants() {
			if late := of.site.Stats().Late; late > 0 {
				return fmt.Errorf("the site %s has %d requests under way that were given up", of.name, late)
			}
		}
		if r.options.Brief {
			return nil
		}
		wakeUps := 0
		tasks := client.Scan(ctx, 0, "asynq:{*}:t:*", 1000).Iterator()
		for tasks.Next(ctx) {
			wakeUps++
		}
		if wakeUps > 0 {
			return fmt.Errorf("%d wake-ups without work are left", wakeUps)
		}
		return tasks.Err()
	})
}
