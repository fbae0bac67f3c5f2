package site

import (
	"math"
	"time"
)

// arrivalSpan is over how long the arrival rate is taken: a burst is noticed
// within its first contacts and forgotten some seconds after its last.
const arrivalSpan = 2 * time.Second

// fewContacts is how many contacts must be expected within the longest linger
// before a contact waits for others at all. At two a second, requests of one
// contact keep a PHP worker busy for an eighth of the time.
const fewContacts = 2

// linger returns how long the first contact in line waits for company when
// contacts arrive at a rate (per second).
//
// It is zero while fewer than [fewContacts] are expected within longest, grows
// with the rate, and reaches longest when that would bring a quarter of a
// batch. It is never longer than a whole batch takes to arrive. With batches of
// 50 and one second: 0 at 2 contacts a second, 0.3 s at 5, 1 s from 13 to 50,
// 0.25 s at 200.
func linger(perSecond float64, size int, longest time.Duration) time.Duration {
	expected := perSecond * longest.Seconds()
	if expected <= fewContacts {
		return 0
	}
	quarter := max(float64(size)/4, fewContacts+1)
	share := min(1, (expected-fewContacts)/(quarter-fewContacts))
	fill := float64(size) / perSecond
	return time.Duration(min(share*longest.Seconds(), fill) * float64(time.Second))
}

// rate estimates events per second: each event counts fully when it happens
// and fades by a factor of e per span. With nothing but span set it is at rest.
type rate struct {
	span time.Duration
	sum  float64
	at   time.Time
}

func (r *rate) add(n int, now time.Time) {
	r.sum = r.faded(now) + float64(n)
	r.at = now
}

func (r *rate) perSecond(now time.Time) float64 { return r.faded(now) / r.span.Seconds() }

func (r *rate) faded(now time.Time) float64 {
	age := max(0, now.Sub(r.at))
	return r.sum * math.Exp(-age.Seconds()/r.span.Seconds())
}
