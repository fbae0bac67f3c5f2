package ingest

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"
)

const (
	// failureBurst is how many wrong keys an address may try at once,
	// failurePeriod how long it then waits for each further one.
	failureBurst  = 20
	failurePeriod = 6 * time.Second
	// failureAddresses bounds the memory for addresses to about a megabyte;
	// those silent for longest are forgotten.
	failureAddresses = 8192
	// subnet6 is the least that one customer gets of IPv6: the owner of one
	// address has all of its subnet.
	subnet6 = 64
)

// failures counts wrong keys by the address that they came from. Each replica
// counts for itself: that keeps Redis out of what an attacker can press, and n
// replicas allow n times as much of next to nothing.
type failures struct {
	now func() time.Time

	mu   sync.Mutex
	seen *lru.Cache[string, *rate.Limiter]
}

func newFailures(now func() time.Time) *failures {
	seen, err := lru.New[string, *rate.Limiter](failureAddresses)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	return &failures{now: now, seen: seen}
}

// count notes a failure and returns zero, or how long until the address may
// fail again.
func (f *failures) count(address string) (wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sender, now := senderOf(address), f.now()
	limiter, known := f.seen.Get(sender)
	if !known {
		limiter = rate.NewLimiter(rate.Every(failurePeriod), failureBurst)
		f.seen.Add(sender, limiter)
	}
	if limiter.AllowN(now, 1) {
		return 0
	}
	missing := 1 - limiter.TokensAt(now)
	return max(time.Duration(missing*float64(failurePeriod)), time.Second)
}

// senderOf counts all addresses as one sender that one customer can use at
// will.
func senderOf(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.Prefix(subnet6)
	if err != nil {
		return addr.String()
	}
	return prefix.String()
}

// clientAddress returns the address that a request comes from: the one that
// connected or, if that is a trusted proxy, the last X-Forwarded-For entry that
// isn't one. A header from anybody else counts for nothing, and so does what
// stands before an entry that is no address.
func clientAddress(proxies []netip.Prefix) echo.IPExtractor {
	return func(r *http.Request) string {
		client, ok := addressOf(r.RemoteAddr)
		if !ok {
			return r.RemoteAddr
		}
		trusted := func(proxy netip.Prefix) bool { return proxy.Contains(client) }
		entries := strings.Split(strings.Join(r.Header[echo.HeaderXForwardedFor], ","), ",")
		for i := len(entries) - 1; i >= 0 && slices.ContainsFunc(proxies, trusted); i-- {
			further, ok := addressOf(entries[i])
			if !ok {
				break
			}
			client = further
		}
		return client.String()
	}
}

// addressOf reads an address. Some proxies write the port along.
func addressOf(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		var both netip.AddrPort
		both, err = netip.ParseAddrPort(text)
		addr = both.Addr()
	}
	return addr.Unmap().WithZone(""), err == nil
}
