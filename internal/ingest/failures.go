package ingest

import (
	"net"
	"net/netip"
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
	// those not heard of for longest are forgotten.
	failureAddresses = 8192
	// subnet6 is what one customer gets of IPv6 at least: who has a single
	// address of it has all.
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

// senderOf makes one sender of the addresses that one has for the asking.
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

// clientAddress tells who a request comes from: who has connected, or whom a
// trusted proxy names in X-Forwarded-For. A header that anybody else sent
// counts for nothing.
func clientAddress(proxies []netip.Prefix) echo.IPExtractor {
	if len(proxies) == 0 {
		return echo.ExtractIPDirect()
	}
	// echo trusts whole networks unless told not to.
	trust := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, proxy := range proxies {
		trust = append(trust, echo.TrustIPRange(&net.IPNet{
			IP: proxy.Addr().AsSlice(), Mask: net.CIDRMask(proxy.Bits(), proxy.Addr().BitLen()),
		}))
	}
	return echo.ExtractIPFromXFFHeader(trust...)
}
