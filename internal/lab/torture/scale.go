package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"spillway/internal/contact"
	"spillway/internal/lab/sandbox"
)

// ScaleOptions describe drains of one backlog by different numbers of workers.
type ScaleOptions struct {
	Workers  []int
	Contacts int
	// Rate is what all workers together may call the CRM per second,
	// Concurrency how many requests the site gets at once.
	Rate, Concurrency int
	// Change starts more workers in mid-burst, up to [mostWorkers], kills two
	// and stops one.
	Change   bool
	Bin, Dir string
	Out      io.Writer // gets a line for each drain; nil: nobody does
}

// mostWorkers is how many there are after a change in mid-burst.
const mostWorkers = 8

// ScaleResult is one drain.
type ScaleResult struct {
	Workers   int
	PerSecond float64 // contacts
	// OfBound is how fast that is against what the CRM's rate allows, start and
	// stop included: nothing that keeps to the rate gets beyond 1.
	OfBound float64
	// Busiest is the most calls of the CRM in any five seconds, as a share of
	// what the rate allows; AtOnce the most requests of the site at once.
	Busiest  float64
	AtOnce   int
	Problems []string
}

func (r ScaleResult) String() string {
	return fmt.Sprintf("%d workers: %6.1f contacts/s, %3.0f%% of the CRM's bound, CRM at most %3.0f%% of its budget, site at most %d requests at once%s",
		r.Workers, r.PerSecond, 100*r.OfBound, 100*r.Busiest, r.AtOnce, strings.Join(append([]string{""}, r.Problems...), "\n  ! "))
}

// Scale drains a backlog with each number of workers. Nothing may be lost and,
// without a change, nothing stored twice. It counts the calls of all workers where
// they reach the CRM and the site.
func Scale(ctx context.Context, options ScaleOptions) (results []ScaleResult, err error) {
	for _, workers := range options.Workers {
		result, err := options.drain(ctx, workers)
		if err != nil {
			return results, fmt.Errorf("draining with %d workers: %w", workers, err)
		}
		if options.Out != nil {
			_, _ = fmt.Fprintln(options.Out, result)
		}
		results = append(results, result)
	}
	return results, nil
}

func (o ScaleOptions) drain(ctx context.Context, workers int) (ScaleResult, error) {
	dir := filepath.Join(o.Dir, fmt.Sprintf("scale-%d", workers))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return ScaleResult{}, err
	}
	r, err := setUp(ctx, Options{Mode: EverySecond, Bin: o.Bin, Dir: dir, Contacts: o.Contacts, Calm: 10 * time.Minute, Brief: true}, 0)
	if err != nil {
		return ScaleResult{}, err
	}
	defer r.tearDown()
	r.site.SetCosts(10*time.Millisecond, time.Millisecond)
	if err := o.fill(ctx, r); err != nil {
		return ScaleResult{}, err
	}
	meter := &meter{watch: r.watch, stored: map[string]int{}}
	start := func(n int) error {
		_, err := r.addWorker(fmt.Sprintf("worker-%d", n), meter, fmt.Sprintf("SPILLWAY_CRM_RATE=%d", o.Rate),
			fmt.Sprintf("SPILLWAY_SITE_CONCURRENCY=%d", o.Concurrency), "SPILLWAY_CRM_CONCURRENCY=64", "SPILLWAY_LOG_LEVEL=info")
		return err
	}
	r.calmed = time.Now()
	for n := range workers {
		if err := start(n + 1); err != nil {
			return ScaleResult{}, err
		}
	}
	if o.Change {
		if err := o.change(ctx, r, start, workers); err != nil {
			return ScaleResult{}, err
		}
	}
	if err := r.settle(ctx); err != nil {
		return ScaleResult{}, err
	}
	return o.measure(r, meter, workers), nil
}

// fill makes users for all contacts, edits each contact and sends its webhook.
func (o ScaleOptions) fill(ctx context.Context, r *run) error {
	var group sync.WaitGroup
	work := make(chan *person)
	errs := make(chan error, senderCount)
	for i := range senderCount {
		random := rand.New(rand.NewPCG(uint64(i), 1))
		group.Go(func() {
			for p := range work {
				made := p.edit(r.crm, contact.Update)
				if err := poll(ctx, 30*time.Second, "sending a webhook", func(context.Context) error {
					return r.senders.post(p, made, r.webhookURL(i), "0", random)
				}); err != nil {
					errs <- err
					return
				}
				p.keep(made)
			}
		})
	}
	for _, p := range r.people {
		p.poisoned = false
		r.site.Cure(p.ref())
		r.site.CreateUser(sandbox.NewUser{Login: p.email, Email: p.email, ContactID: p.ref()})
		select {
		case work <- p:
		case err := <-errs:
			return err
		}
	}
	close(work)
	group.Wait()
	return nil
}

// change adds and ends workers while the backlog drains.
func (o ScaleOptions) change(ctx context.Context, r *run, start func(n int) error, workers int) error {
	drained := func(share float64) error {
		return poll(ctx, 5*time.Minute, "waiting for a part of the backlog", func(ctx context.Context) error {
			stats, err := r.stats(ctx)
			if err == nil && float64(stats.Pending+stats.Active+stats.Retrying) > (1-share)*float64(o.Contacts) {
				err = errors.New("too much is left")
			}
			return err
		})
	}
	if err := drained(0.2); err != nil {
		return err
	}
	for n := workers; n < mostWorkers; n++ {
		if err := start(n + 1); err != nil {
			return err
		}
	}
	if err := drained(0.4); err != nil {
		return err
	}
	r.workers[0].kill()
	r.workers[1].kill()
	if err := drained(0.6); err != nil {
		return err
	}
	return r.workers[2].terminate()
}

func (o ScaleOptions) measure(r *run, m *meter, workers int) ScaleResult {
	took := r.drained.Seconds()
	result := ScaleResult{Workers: workers, PerSecond: float64(o.Contacts) / took, AtOnce: m.mostAtOnce}
	const window = 5 * time.Second
	const calls = 2     // of an update: fields and tags
	burst := o.Rate / 4 // see throttle.NewBudget
	result.OfBound = float64(calls*o.Contacts-burst) / float64(o.Rate) / took
	if result.OfBound > 1 {
		result.Problems = append(result.Problems, fmt.Sprintf("contacts were synced at %.0f %% of what the CRM's rate allows", 100*result.OfBound))
	}
	allowed := float64(burst) + float64(o.Rate)*window.Seconds()
	result.Busiest = float64(most(m.crm, window)) / allowed
	// The door sees calls some time after they were allowed; a machine that
	// stalls for a second brings the calls of that second together.
	if result.Busiest > 1.2 {
		result.Problems = append(result.Problems, fmt.Sprintf("%.0f %% of the CRM's budget were used", 100*result.Busiest))
	}
	if m.mostAtOnce > o.Concurrency {
		result.Problems = append(result.Problems, fmt.Sprintf("the site had %d requests at once, %d are allowed", m.mostAtOnce, o.Concurrency))
	}
	report := &Report{}
	for _, p := range r.people {
		fields, tags, whole := 0, 0, false
		if users := r.site.UsersByContact(p.ref()); len(users) == 1 {
			fields, tags, whole = shown(users[0])
		}
		if !whole || fields != p.fields || tags != p.tags {
			report.found(&report.Lost, "contact %d shows fields %d and tags %d, the CRM has %d and %d", p.id, fields, tags, p.fields, p.tags)
		}
		// The contacts of a killed worker are stored by another, too.
		if times := m.stored[p.ref()]; times != 1 && !o.Change {
			report.found(&report.Lost, "contact %d was stored %d times, not once", p.id, times)
		}
	}
	_, _, overlaps := r.watch.counts()
	result.Problems = append(append(result.Problems, report.Problems...), overlaps...)
	return result
}

// meter counts what reaches the CRM and the site, over all workers.
type meter struct {
	*watch

	mu         sync.Mutex
	crm        []time.Time
	atOnce     int
	mostAtOnce int
	stored     map[string]int // how often, by contact
}

func (m *meter) arrived(ctx context.Context, calls []call) {
	m.watch.arrived(ctx, calls)
	m.mu.Lock()
	defer m.mu.Unlock()
	if ofSite(calls) {
		m.atOnce++
		m.mostAtOnce = max(m.mostAtOnce, m.atOnce)
		for _, c := range calls {
			if c.step == storing {
				m.stored[c.contact]++
			}
		}
		return
	}
	m.crm = append(m.crm, time.Now())
}

func (m *meter) acted(ctx context.Context, calls []call, answer []byte) {
	m.watch.acted(ctx, calls, answer)
	m.mu.Lock()
	defer m.mu.Unlock()
	if ofSite(calls) {
		m.atOnce--
	}
}

func ofSite(calls []call) bool { return calls[0].step == storing || calls[0].step == confirming }

// most is how many of the times fall into the fullest window.
func most(times []time.Time, window time.Duration) int {
	times = slices.SortedFunc(slices.Values(times), time.Time.Compare)
	fullest, from := 0, 0
	for to := range times {
		for times[to].Sub(times[from]) > window {
			from++
		}
		fullest = max(fullest, to-from+1)
	}
	return fullest
}
