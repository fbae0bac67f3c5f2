package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"spillway/internal/lab/sandbox"
)

// chaos is what goes wrong during a run. A seed gives the same events in the
// same order, each with the same pauses; what they hit is up to the processes.
type chaos struct {
	run    *run
	random *rand.Rand // of the one goroutine that draws events

	mu     sync.Mutex
	counts map[string]int
	busy   map[string]bool
	turns  int
	failed []error
}

// event is one thing that can go wrong. do is called on a goroutine of its own
// and returns when all is well again; length is drawn beforehand.
type event struct {
	name    string
	longest time.Duration // it lasts from a tenth of that to all of it
	targets []string      // one is drawn; none: it has no target
	do      func(ctx context.Context, target string, length time.Duration) error
}

func newChaos(r *run, seed uint64) *chaos {
	return &chaos{
		run: r, counts: map[string]int{}, busy: map[string]bool{},
		random: rand.New(rand.NewPCG(seed, 1)),
	}
}

// rage makes things go wrong until ctx ends, every kind once before any comes
// a second time, and returns when all is well again.
func (c *chaos) rage(ctx context.Context) {
	var group sync.WaitGroup
	events := c.events()
	for ctx.Err() == nil {
		c.random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		for _, e := range events {
			pause := c.run.options.Every/2 + time.Duration(c.random.Int64N(int64(c.run.options.Every)))
			length := e.longest/10 + time.Duration(c.random.Int64N(int64(e.longest)))*9/10
			target := ""
			if len(e.targets) > 0 {
				target = e.targets[c.random.IntN(len(e.targets))]
			}
			if wait(ctx, pause); ctx.Err() != nil {
				break
			}
			if !c.take(target) {
				continue
			}
			c.count(e.name)
			group.Go(func() {
				defer c.leave(target)
				if err := e.do(ctx, target, length); err != nil {
					c.mu.Lock()
					c.failed = append(c.failed, fmt.Errorf("%s: %w", e.name, err))
					c.mu.Unlock()
				}
			})
		}
		if c.run.options.Fire >= longRun {
			wait(ctx, lull)
		}
	}
	group.Wait()
}

// take keeps two events from acting on one target.
func (c *chaos) take(target string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if target == "" {
		return true
	}
	if c.busy[target] {
		return false
	}
	c.busy[target] = true
	return true
}

func (c *chaos) leave(target string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, target)
}

func (c *chaos) count(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[name]++
}

// drainTime is how long a worker may take to end its passes; see worker.Run.
const drainTime = 60 * time.Second

// longRun is the shortest fire in which things happen that take a minute.
const longRun = 2 * time.Minute

// lull is a long run's pause after every kind has come once: without it the
// shared breakers are open for most of the time, and little work is at risk.
const lull = 20 * time.Second

// lateRun is the shortest fire in which the site carries requests out that were
// given up: each keeps one of the site's two turns for 25 s.
const lateRun = time.Minute

// events are all kinds of what goes wrong in this run.
func (c *chaos) events() []event {
	r := c.run
	workers, ingests := names(r.workers), names(r.ingests)
	events := []event{
		{"worker killed", 3 * time.Second, workers, c.killed},
		{"worker killed", 3 * time.Second, workers, c.killed},
		{"worker terminated", 3 * time.Second, workers, c.terminated},
		{"worker frozen", 8 * time.Second, workers, c.frozen},
		{"ingest killed", 3 * time.Second, ingests, c.killed},
		{"ingest terminated", 3 * time.Second, ingests, c.terminated},
		{"redis killed", 3 * time.Second, []string{"redis"}, func(ctx context.Context, _ string, length time.Duration) error {
			return r.store.crash(ctx, length)
		}},
		{"redis frozen", 4 * time.Second, []string{"redis"}, func(ctx context.Context, _ string, length time.Duration) error {
			return r.store.freeze(ctx, length)
		}},
	}
	if r.options.Fire >= longRun {
		events = append(events, event{"worker frozen for longer than lock and lease", 1, workers, func(ctx context.Context, target string, _ time.Duration) error {
			// Not until the fire ends: a freeze that is cut short shows nothing.
			return c.frozen(context.WithoutCancel(ctx), target, 55*time.Second)
		}})
	}
	events = append(events, c.linkEvents()...)
	return append(events, c.standInEvents()...)
}

func (c *chaos) killed(ctx context.Context, target string, length time.Duration) error {
	p := c.run.process(target)
	p.kill()
	wait(ctx, length)
	return p.start()
}

func (c *chaos) terminated(ctx context.Context, target string, length time.Duration) error {
	p := c.run.process(target)
	if err := p.terminate(); err != nil {
		return err
	}
	wait(ctx, length)
	return p.start()
}

func (c *chaos) frozen(ctx context.Context, target string, length time.Duration) error {
	p := c.run.process(target)
	p.freeze()
	wait(ctx, length)
	p.thaw()
	return nil
}

func (c *chaos) linkEvents() []event {
	r := c.run
	var events []event
	for server, links := range r.linksTo {
		if len(links) == 0 {
			continue
		}
		events = append(events,
			event{server + " cut off", 4 * time.Second, links, func(ctx context.Context, target string, length time.Duration) error {
				l := r.link(target)
				l.cut()
				wait(ctx, length)
				return l.mend(context.WithoutCancel(ctx))
			}},
			event{server + " slow", 8 * time.Second, links, func(ctx context.Context, target string, length time.Duration) error {
				return c.toxic(ctx, target, length, "latency", map[string]int64{"latency": 150, "jitter": 140}, "upstream", "downstream")
			}},
			event{server + " reset", 2 * time.Second, links, func(ctx context.Context, target string, length time.Duration) error {
				return c.toxic(ctx, target, length, "reset_peer", map[string]int64{"timeout": 20}, "downstream")
			}},
			event{server + " cut in mid-answer", 2 * time.Second, links, func(ctx context.Context, target string, length time.Duration) error {
				return c.toxic(ctx, target, length, "limit_data", map[string]int64{"bytes": 300}, "downstream")
			}},
		)
	}
	sortEvents(events)
	return events
}

func (c *chaos) toxic(ctx context.Context, target string, length time.Duration, kind string, attributes map[string]int64, streams ...string) error {
	l := c.run.link(target)
	if err := l.disturb(kind, attributes, streams...); err != nil {
		return err
	}
	wait(ctx, length)
	return l.mend(context.WithoutCancel(ctx))
}

// lasting is how long a fault waits for its calls. One of some calls ends, too:
// in an outage the few calls that there are would meet the faults of minutes.
func lasting(fault sandbox.Fault, length time.Duration) time.Duration {
	if fault.Count > 0 {
		return 4 * time.Second
	}
	return length
}

// standInEvents are what the CRM and the site do by themselves.
func (c *chaos) standInEvents() []event {
	r := c.run
	crm := func(name string, fault sandbox.Fault) event {
		return event{"CRM " + name, 2 * time.Second, nil, func(_ context.Context, _ string, length time.Duration) error {
			fault.For = lasting(fault, length)
			return c.turn().crm.Fail(fault)
		}}
	}
	site := func(name string, fault sandbox.Fault) event {
		return event{"site " + name, 2 * time.Second, nil, func(_ context.Context, _ string, length time.Duration) error {
			fault.For = lasting(fault, length)
			fault.Route = "contacts"
			return c.turn().site.Inject(fault)
		}}
	}
	// Three seconds are no outage: passes take long, and succeed.
	slow := func(name string, longest time.Duration, set func(of *tenant, by time.Duration)) event {
		return event{name, longest, []string{name}, func(ctx context.Context, _ string, length time.Duration) error {
			of := c.turn()
			set(of, 3*time.Second)
			wait(ctx, length)
			set(of, 0)
			return nil
		}}
	}
	events := []event{
		crm("answers 429", sandbox.Fault{Status: 429, RetryAfter: time.Second, Count: 5}),
		crm("answers 500", sandbox.Fault{Status: 500}),
		crm("answers garbage", sandbox.Fault{Mode: sandbox.FaultGarbage}),
		crm("hangs", sandbox.Fault{Mode: sandbox.FaultHang, Count: 3}),
		crm("answers by half", sandbox.Fault{Mode: sandbox.FaultHalf, Count: 5}),
		crm("stores and hangs", sandbox.Fault{Mode: sandbox.FaultHangAfter, Route: "update", Count: 2}),
		slow("CRM slow to answer", 6*time.Second, func(of *tenant, by time.Duration) { of.crm.SetLatency(crmLatency + by) }),
		slow("site slow to answer", 6*time.Second, func(of *tenant, by time.Duration) { of.site.SetCosts(siteStart+by, siteContact) }),
		crm("stores and resets", sandbox.Fault{Mode: sandbox.FaultHalf, Route: "update", Count: 2}),
		site("answers 503", sandbox.Fault{Status: 503, RetryAfter: time.Second}),
		site("answers by half", sandbox.Fault{Mode: sandbox.FaultHalf, Count: 3}),
		site("resets", sandbox.Fault{Mode: sandbox.FaultReset, Count: 3}),
		{"site stores and is cut off", 3 * time.Second, r.linksTo["site"], func(ctx context.Context, target string, length time.Duration) error {
			if err := c.turn().site.Inject(sandbox.Fault{Mode: sandbox.FaultHangAfter, Route: "contacts", Count: 1, For: 4 * time.Second}); err != nil {
				return err
			}
			wait(ctx, length)
			l := r.link(target)
			l.cut()
			return l.mend(context.WithoutCancel(ctx))
		}},
	}
	if r.options.Fire >= lateRun {
		// The worker gives the request up after 25 s. In the second half of the
		// fire, since no later pass mends what comes after its end; by then the
		// poisoned contact, whose requests store nothing, has mostly been parked.
		events = append(events, event{"site acts after it was given up", 40 * time.Second, nil, func(ctx context.Context, _ string, length time.Duration) error {
			if wait(ctx, r.options.Fire/2-time.Since(r.began)); ctx.Err() != nil {
				return nil
			}
			return c.turn().site.Inject(sandbox.Fault{Mode: sandbox.FaultLate, Route: "contacts", Count: 1, For: 30 * time.Second, After: length})
		}})
	}
	if r.options.Fire >= longRun {
		// It keeps the site's only turn for as long as a request may last.
		events = append(events, site("stores and never answers", sandbox.Fault{Mode: sandbox.FaultHangAfter, Count: 1}))
	}
	return events
}
