package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Report is what a run counted and found.
type Report struct {
	Mode Mode
	Seed uint64
	Took time.Duration
	// Drained is how long the last contact took after all was calm.
	Drained time.Duration

	Sites        int
	Contacts     int
	Webhooks     int // sent, each for an edit
	Tries        int // over all webhooks
	Acknowledged int
	GivenUp      int            // never acknowledged; nothing is promised
	Synced       int            // acknowledged when they were done, and checked at once
	Refusals     map[string]int // what senders got instead of a 2xx
	Events       map[string]int // by what went wrong
	Spoilt       int64          // calls that met a fault of the CRM or the site
	Restarts     int            // programs that ended by themselves and were started again
	Passes       int            // as the CRM saw them begin
	Late         int            // calls of passes that had lost their claim while frozen
	Superseded   int64          // contacts that the site did not store: a newer pass had been there
	Users        int
	Parked       int

	// All of these must be zero.
	Lost, Torn, Overlapped, DoubledUsers, WrongPasswords, ChangedPasswords int
	WrongMails, Leftovers, Leaks, WronglyParked, Lies, Hurried, Strangers  int

	// Problems describe what was found, the first of each kind.
	Problems []string
}

// Failed says that something was found.
func (r *Report) Failed() bool { return len(r.Problems) > 0 }

func (r *Report) problem(err error) {
	if err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
}

// found counts a finding and describes the first few of its kind.
func (r *Report) found(count *int, format string, values ...any) {
	if *count++; *count <= 5 {
		r.Problems = append(r.Problems, fmt.Sprintf(format, values...))
	}
}

// String is the summary of a run.
func (r *Report) String() string {
	var b strings.Builder
	verdict := "PASSED"
	if r.Failed() {
		verdict = "FAILED"
	}
	kills := 0
	for name, n := range r.Events {
		if strings.Contains(name, "killed") || strings.Contains(name, "terminated") || strings.Contains(name, "frozen") {
			kills += n
		}
	}
	fmt.Fprintf(&b, "%s  redis=%s seed=%d  %s, of which %s to drain\n", verdict, r.Mode, r.Seed, r.Took.Round(time.Second), r.Drained.Round(time.Second))
	fmt.Fprintf(&b, "  %d webhooks (%d tries) for %d contacts of %d sites, %d acknowledged (%d of them when they were done), %d given up; instead of a 2xx: %s\n",
		r.Webhooks, r.Tries, r.Contacts, r.Sites, r.Acknowledged, r.Synced, r.GivenUp, list(r.Refusals))
	fmt.Fprintf(&b, "  %d kills, stops and freezes; calls spoilt by the CRM or the site: %d; ended by themselves: %d\n", kills, r.Spoilt, r.Restarts)
	fmt.Fprintf(&b, "  faults: %s\n", list(r.Events))
	fmt.Fprintf(&b, "  %d passes, %d users, %d parked, %d late calls of frozen workers, %d contacts refused as superseded\n",
		r.Passes, r.Users, r.Parked, r.Late, r.Superseded)
	fmt.Fprintf(&b, "  lost %d, torn %d, overlapped %d, doubled users %d, wrong passwords %d, changed passwords %d, wrong mails %d, wrongly parked %d, hurried %d, left in Redis %d, leaked %d, lies %d, on another site %d\n",
		r.Lost, r.Torn, r.Overlapped, r.DoubledUsers, r.WrongPasswords, r.ChangedPasswords, r.WrongMails, r.WronglyParked, r.Hurried, r.Leftovers, r.Leaks, r.Lies, r.Strangers)
	for _, problem := range r.Problems {
		fmt.Fprintf(&b, "  ! %s\n", problem)
	}
	return b.String()
}

func list(counts map[string]int) string {
	if len(counts) == 0 {
		return "nothing"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(parts, ", ")
}

// report takes the counts of the run.
func (r *run) report() *Report {
	report := &Report{
		Mode: r.options.Mode, Seed: r.options.Seed, Took: time.Since(r.began), Drained: r.drained,
		Contacts: len(r.people), Restarts: r.restarts, Sites: len(r.tenants()),
	}
	for _, of := range r.tenants() {
		report.Users += len(of.site.Users())
		report.Spoilt += of.crm.Stats().Spoilt + of.site.Stats().Spoilt
		report.Superseded += of.site.Stats().Superseded
	}
	s := r.senders
	s.count(func() {
		report.Webhooks, report.Tries, report.Acknowledged, report.GivenUp = s.sent, s.tries, s.kept, s.givenUp
		report.Refusals, report.Synced = maps.Clone(s.errs), s.synced
		for _, lie := range s.lies {
			report.found(&report.Lies, "%s", lie)
		}
	})
	r.chaos.mu.Lock()
	report.Events = maps.Clone(r.chaos.counts)
	r.chaos.mu.Unlock()
	for _, of := range r.tenants() {
		passes, late, overlaps := of.watch.counts()
		report.Passes, report.Late = report.Passes+passes, report.Late+late
		for _, overlap := range overlaps {
			report.found(&report.Overlapped, "two passes overlapped: %s", overlap)
		}
		if n := of.crm.Stats().Overlaps; n > 0 {
			report.Overlapped += int(n)
			report.problem(fmt.Errorf("the CRM of %s saw %d reads of a contact that was being read", of.name, n))
		}
	}
	return report
}

// show prints a line of figures every few seconds.
func (r *run) show(ctx context.Context) {
	if r.options.Out == nil {
		return
	}
	for {
		if wait(ctx, 5*time.Second); ctx.Err() != nil {
			return
		}
		var sent, kept int
		r.senders.count(func() { sent, kept = r.senders.sent, r.senders.kept })
		passes, late, overlaps := 0, 0, 0
		for _, of := range r.tenants() {
			p, l, o := of.watch.counts()
			passes, late, overlaps = passes+p, late+l, overlaps+len(o)
		}
		r.chaos.mu.Lock()
		events := 0
		for _, n := range r.chaos.counts {
			events += n
		}
		r.chaos.mu.Unlock()
		open := "?"
		if stats, err := r.stats(ctx); err == nil {
			open = fmt.Sprint(stats.Pending + stats.Active + stats.Retrying)
		}
		_, _ = fmt.Fprintf(r.options.Out, "%5.0fs  %s seed %d: %d webhooks, %d acknowledged, %d events, %d passes, %s open, %d overlapped, %d late\n",
			time.Since(r.began).Seconds(), r.options.Mode, r.options.Seed, sent, kept, events, passes, open, overlaps, late)
	}
}

// counters are what the admin API tells.
type counters struct{ Pending, Active, Retrying, Parked, Failed int }

func getJSON(ctx context.Context, url string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(answer)
}
