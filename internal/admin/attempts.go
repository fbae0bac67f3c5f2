package admin

import (
	"sync"
	"time"
)

// The limits on wrong passwords: a person who mistypes does not notice them, a
// program gets about 14,000 tries a day from all its addresses together.
const (
	clientBurst  = 10               // wrong ones in a row from one client
	clientRefill = 30 * time.Second // one more after this
	globalBurst  = 60               // from clients that never had a right one
	globalRefill = 6 * time.Second
	// trust is how long a client that had the right password is spared the
	// global limit: others cannot shut the operator out.
	trust = 24 * time.Hour
	// maxClients bounds the memory; beyond it the clients that have tried least
	// lately are forgotten.
	maxClients = 10000
)

// bucket holds the tries that are left.
type bucket struct {
	left float64
	at   time.Time // when left was right
}

func (b *bucket) fill(now time.Time, burst float64, refill time.Duration) {
	b.left = min(burst, b.left+now.Sub(b.at).Seconds()/refill.Seconds())
	b.at = now
}

// wait is how long it takes until a try is left.
func (b *bucket) wait(refill time.Duration) time.Duration {
	if b.left >= 1 {
		return 0
	}
	return time.Duration((1 - b.left) * float64(refill))
}

type client struct {
	bucket

	trusted time.Time // until then
}

// attempts limits wrong passwords. Right ones cost nothing. The counts are this
// process's own: with several replicas of ingest the limits multiply.
type attempts struct {
	now func() time.Time

	mu      sync.Mutex
	clients map[string]*client
	global  bucket
}

func newAttempts(now func() time.Time) *attempts {
	return &attempts{now: now, clients: make(map[string]*client), global: bucket{globalBurst, now()}}
}

// try checks a password unless the client has none left; then it returns how
// long to wait, and whether the password was right stays unknown. The check
// runs under the lock, so that attempts side by side count one after another.
func (a *attempts) try(name string, check func() bool) (right bool, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	a.global.fill(now, globalBurst, globalRefill)
	c := a.clients[name]
	if c == nil {
		c = &client{bucket: bucket{clientBurst, now}}
	}
	c.fill(now, clientBurst, clientRefill)
	wait = c.wait(clientRefill)
	if trusted := now.Before(c.trusted); !trusted {
		wait = max(wait, a.global.wait(globalRefill))
	}
	if wait > 0 {
		return false, wait
	}
	if check() {
		// Every request of a program passes here: only a new client is work.
		if !now.Add(trust / 2).Before(c.trusted) {
			c.trusted = now.Add(trust)
			a.keep(name, c, now)
		}
		return true, 0
	}
	c.left--
	if !now.Before(c.trusted) {
		a.global.left--
	}
	a.keep(name, c, now)
	return false, 0
}

// keep remembers a client, and forgets others when there are too many: those
// that a fresh entry would treat alike, and failing these any.
func (a *attempts) keep(name string, c *client, now time.Time) {
	if a.clients[name] == nil && len(a.clients) >= maxClients {
		for other, known := range a.clients {
			known.fill(now, clientBurst, clientRefill)
			if known.left >= clientBurst && !now.Before(known.trusted) {
				delete(a.clients, other)
			}
		}
		for other, known := range a.clients {
			if len(a.clients) < maxClients {
				break
			}
			if !now.Before(known.trusted) {
				delete(a.clients, other)
			}
		}
		if len(a.clients) >= maxClients {
			return // all trusted: they had the password
		}
	}
	a.clients[name] = c
}
