package guard

import (
	"maps"
	"slices"
	"time"
)

// pressure is how hard the site is pressed, and what that follows from. All
// replicas share one; see [Guard] for the rules. Times are milliseconds.
type pressure struct {
	// Share of the time that requests may take: at 0.25 each is followed by a
	// pause three times as long, at 1 by none.
	Share float64 `json:"share"`
	Batch float64 `json:"batch"` // contacts that the next request may hold

	Latency float64 `json:"latency"` // of requests, a moving average
	Pace    float64 `json:"pace"`    // the last pause

	Starts scale `json:"starts"` // what requests take before the connector works on them
	Page   scale `json:"page"`   // what the page takes that is watched

	Flying map[string]flights `json:"flying,omitempty"` // by process

	SentAt    int64 `json:"sent_at"` // the last request left
	EndedAt   int64 `json:"ended_at"`
	RefusedAt int64 `json:"refused_at"`
	ProbedAt  int64 `json:"probed_at"`
}

const (
	// firstBatch is the first batch of a site that is not known yet.
	firstBatch = 16
	// requestTime is how long a request should take at most: the connector
	// defers contacts after 10 s, and a request that is under way cannot be
	// taken back when the site gets busy.
	requestTime = 2 * time.Second
	// usualShare is what requests may take while nothing is slower than usual. A
	// page that meets a request shares the processors with it. Below a half most
	// pages meet none, or only for a part of their time.
	usualShare = 0.45
	// fewContacts in a request are no burst: one webhook or two.
	fewContacts = 2
	// leastShare bounds how far the guard eases off. With less, contacts that
	// were admitted before would wait out their passes in line.
	leastShare = 0.1
	// leastShareUnseen is the same without a page that is watched: how long
	// requests take to start says less about visitors.
	leastShareUnseen = 0.25
	// longestPace bounds one pause.
	longestPace = 5 * time.Second
)

func newPressure(most int) pressure {
	return pressure{Share: usualShare, Batch: min(firstBatch, float64(most))}
}

// sending takes note of a request that leaves. A new burst begins anew.
func (p *pressure) sending(now time.Time) {
	if p.resting(now) {
		p.Share, p.Page.Recent, p.Starts.Recent = usualShare, nil, nil
	}
	p.SentAt = now.UnixMilli()
}

// answered takes note of a request that the site answered after took, having
// worked on its contacts for worked of that time.
func (p *pressure) answered(now time.Time, most, contacts int, took, worked time.Duration) {
	p.EndedAt = now.UnixMilli()
	p.Latency = blend(p.Latency, inMillis(took))
	fits := float64(contacts) * float64(requestTime) / float64(max(took, time.Millisecond))
	switch {
	case took > requestTime:
		p.Batch = fits
	case float64(contacts) >= p.Batch: // a smaller request says little of a full one
		p.Batch = min(fits, 2*p.Batch)
	}
	p.Batch = min(max(p.Batch, 1), float64(most))

	start := inMillis(took - worked)
	if worked <= 0 || start < 0 {
		return // the connector does not say how long it worked
	}
	p.Starts.add(start)
	p.Starts.settle(now, p.Starts.lowest(), startsBase())
	if p.Page.Base == 0 { // else the page decides
		p.follow(p.Starts.verdict(startsLimits()), leastShareUnseen, usualShare, &p.Starts)
	}
}

// refused takes note of a request that met a busy site or no answer in time.
// What comes within a second of another belongs to the same trouble.
func (p *pressure) refused(now time.Time) {
	p.EndedAt = now.UnixMilli()
	if now.UnixMilli()-p.RefusedAt < time.Second.Milliseconds() {
		return
	}
	p.RefusedAt = now.UnixMilli()
	p.Share = max(p.Share/2, p.least())
	p.Batch = max(p.Batch/2, 1)
}

// probed takes note of what the page took. quiet says that no request was
// under way meanwhile.
func (p *pressure) probed(now time.Time, took time.Duration, quiet bool) {
	p.ProbedAt = now.UnixMilli()
	if quiet {
		p.Page.settle(now, inMillis(took), pageBase())
	}
	if p.resting(now) {
		return
	}
	p.Page.add(inMillis(took))
	limits, most := pageLimits(), usualShare
	// At the usual share about half of the pages met a request. If not even one
	// of them was slower, the site has processors to spare.
	if len(p.Page.Recent) >= enough && slices.Max(p.Page.Recent) < limits.slower*p.Page.Base {
		most = 1
	}
	p.follow(p.Page.verdict(limits), leastShare, most, &p.Page)
}

// restAfter is how long after the last request a burst is over. It exceeds a
// request with the longest pause.
const restAfter = 15 * time.Second

func (p *pressure) resting(now time.Time) bool {
	return now.UnixMilli()-max(p.SentAt, p.EndedAt) > restAfter.Milliseconds()
}

// flights are the requests of one process that are under way.
type flights struct {
	Count int   `json:"n"`
	Since int64 `json:"at"` // when that was said
}

// lost is after what time without a word a process's requests have ended: it is
// longer than any takes.
const lost = 30 * time.Second

func (f flights) underWay(now time.Time) bool {
	return f.Count > 0 && now.UnixMilli()-f.Since < lost.Milliseconds()
}

// fly takes note of how many requests of a process are under way.
func (p *pressure) fly(now time.Time, process string, count int) {
	maps.DeleteFunc(p.Flying, func(_ string, f flights) bool { return !f.underWay(now) })
	if count <= 0 {
		delete(p.Flying, process)
		return
	}
	if p.Flying == nil {
		p.Flying = make(map[string]flights)
	}
	p.Flying[process] = flights{Count: count, Since: now.UnixMilli()}
}

// busy says that a request is under way, as far as is known.
func (p *pressure) busy(now time.Time) bool {
	for _, f := range p.Flying {
		if f.underWay(now) {
			return true
		}
	}
	return false
}

func (p *pressure) least() float64 {
	if p.Page.Base > 0 {
		return leastShare
	}
	return leastShareUnseen
}

// follow changes the share. What was measured before the change says nothing of
// what comes after it.
func (p *pressure) follow(v verdict, least, most float64, measured *scale) {
	switch v {
	case muchSlower:
		p.Share /= 2
	case slower:
		p.Share *= 0.75
	case asEver:
		if p.Share < usualShare {
			p.Share = min(2*p.Share, usualShare)
		} else {
			p.Share *= 1.25
		}
	case undecided:
		return
	}
	p.Share = min(max(p.Share, least), most)
	measured.Recent = nil
}

// pause returns how long the slot rests after a request with some contacts.
// Only a site that is slower than usual makes others wait behind a lone one.
func (p *pressure) pause(contacts int, took time.Duration) time.Duration {
	share := p.Share
	if contacts <= fewContacts && contacts < int(p.Batch) {
		share = min(share/usualShare, 1)
	}
	pause := min(time.Duration(float64(took)*(1/share-1)), longestPace)
	p.Pace = inMillis(pause)
	return pause
}

// scale compares what was measured lately with what is usual.
type scale struct {
	Recent []float64 `json:"recent,omitempty"`
	Usual  []float64 `json:"usual,omitempty"` // some seconds or minutes apart
	Base   float64   `json:"base"`            // what is usual; zero: not known
	SetAt  int64     `json:"set_at"`          // when Usual last grew
}

const (
	recentLength = 7
	usualLength  = 15
)

func (s *scale) add(value float64) {
	s.Recent = append(s.Recent, value)
	s.Recent = s.Recent[max(0, len(s.Recent)-recentLength):]
}

// settle lets a value count as usual, at most one in apart, once there are
// enough to go by.
func (s *scale) settle(now time.Time, value float64, base baseRule) {
	if value <= 0 || len(s.Usual) >= base.first && now.UnixMilli()-s.SetAt < base.apart.Milliseconds() {
		return
	}
	s.SetAt = now.UnixMilli()
	s.Usual = append(s.Usual, value)
	s.Usual = s.Usual[max(0, len(s.Usual)-usualLength):]
	if len(s.Usual) >= base.first {
		s.Base = base.of(s.Usual)
	}
}

// lowest returns the least of the recent values, if there are some.
func (s *scale) lowest() float64 {
	if len(s.Recent) < enough {
		return 0
	}
	return slices.Min(s.Recent)
}

func (s *scale) median() float64 { return median(s.Recent) }

// baseRule says what becomes the base: the first values at once, then one of
// each time apart, over the last 15 of them.
type baseRule struct {
	first int
	apart time.Duration
	of    func([]float64) float64
}

// pageBase: the page is measured while the site is left alone, so its median
// is what visitors usually see.
func pageBase() baseRule { return baseRule{first: 5, apart: 20 * time.Second, of: median} }

// startsBase: requests are measured under their own load, so the best of five
// minutes is what is usual.
func startsBase() baseRule {
	return baseRule{first: 1, apart: 20 * time.Second, of: slices.Min[[]float64]}
}

// verdict is what the recent values say.
type verdict int

const (
	undecided verdict = iota
	asEver
	slower
	muchSlower
)

// scaleLimits are the ratios of recent to usual from which on a verdict holds.
type scaleLimits struct{ asEver, slower, muchSlower float64 }

func pageLimits() scaleLimits { return scaleLimits{asEver: 1.08, slower: 1.15, muchSlower: 1.5} }

func startsLimits() scaleLimits { return scaleLimits{asEver: 1.25, slower: 1.5, muchSlower: 3} }

// enough is how many recent values decide. Two do when both are much slower.
const enough = 4

func (s *scale) verdict(limits scaleLimits) verdict {
	if s.Base <= 0 || len(s.Recent) < 2 {
		return undecided
	}
	if len(s.Recent) < enough {
		if slices.Min(s.Recent) > limits.muchSlower*s.Base {
			return muchSlower
		}
		return undecided
	}
	switch ratio := s.median() / s.Base; {
	case ratio > limits.muchSlower:
		return muchSlower
	case ratio > limits.slower:
		return slower
	case ratio < limits.asEver:
		return asEver
	}
	return undecided
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// blend moves an average a quarter of the way to a new value.
func blend(average, value float64) float64 {
	if average == 0 {
		return value
	}
	return average + (value-average)/4
}

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
