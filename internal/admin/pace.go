package admin

import (
	"sync"
	"time"

	"spillway/internal/pending"
	"spillway/internal/pending/history"
)

const (
	// paceSpan is how far back the pace is measured, paceLeast the shortest
	// span that says something.
	paceSpan  = 30 * time.Second
	paceLeast = 4 * time.Second
)

// sample is how many passes had been synced at a moment.
type sample struct {
	at     time.Time
	synced int64
}

// pace measures how fast contacts are synced, from the counter as it is read
// while somebody looks at it.
type pace struct {
	mu      sync.Mutex
	samples []sample // oldest first
}

// drain is how long what is outstanding will take.
type drain struct {
	Outstanding int64
	PerSecond   float64
	Left        time.Duration
	Known       bool // there is a pace to judge by
}

// judge estimates how long the outstanding contacts will take, if they go on as
// in the last half minute; with nobody having looked that long, as in the last
// minutes that the series tells of.
func (p *pace) judge(now time.Time, stats pending.Stats, minutes []history.Point) drain {
	d := drain{Outstanding: stats.Pending + stats.Active + stats.Retrying}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.samples); n > 0 && stats.Synced < p.samples[n-1].synced {
		p.samples = nil // Redis was emptied
	}
	p.samples = append(p.samples, sample{now, stats.Synced})
	for len(p.samples) > 0 && now.Sub(p.samples[0].at) > paceSpan {
		p.samples = p.samples[1:]
	}
	first := p.samples[0]
	if span := now.Sub(first.at); span >= paceLeast {
		d.PerSecond = float64(stats.Synced-first.synced) / span.Seconds()
	} else {
		d.PerSecond = recent(now, minutes)
	}
	if d.PerSecond > 0 {
		d.Known = true
		d.Left = time.Duration(float64(d.Outstanding) / d.PerSecond * float64(time.Second))
	}
	return d
}

// recent is the pace of the current minute and the one before.
func recent(now time.Time, minutes []history.Point) float64 {
	minutes = minutes[max(0, len(minutes)-2):]
	if len(minutes) == 0 {
		return 0
	}
	var synced int64
	for _, point := range minutes {
		synced += point.Synced
	}
	return float64(synced) / max(1, now.Sub(minutes[0].At).Seconds())
}
