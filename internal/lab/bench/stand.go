package bench

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/sandbox"
	"spillway/internal/pending"
)

// crmToken is what the stand-in CRM accepts.
const crmToken = "bench-crm-token-7c21"

// crmLatency is what a call of the CRM takes everywhere here: what WP Fusion
// was measured with.
const crmLatency = 100 * time.Millisecond

// crm is a stand-in CRM that remembers when it was called.
type crm struct {
	*sandbox.CRM
	url string

	mu    sync.Mutex
	calls []time.Time
	paths []string
}

// startCRM starts a CRM with contacts 1 to n.
func (s *stage) startCRM(options sandbox.CRMOptions, contacts int) *crm {
	options.Token = crmToken
	c := &crm{CRM: sandbox.NewCRM(options)}
	c.Seed(contacts)
	c.url = s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.calls = append(c.calls, time.Now())
		c.paths = append(c.paths, r.URL.Path)
		c.mu.Unlock()
		c.ServeHTTP(w, r)
	}))
	s.Cleanup(c.Close)
	return c
}

// called returns when the calls arrived, oldest first, and forgets them.
func (c *crm) called() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = nil
	slices.SortFunc(calls, time.Time.Compare)
	return calls
}

// startSite starts a stand-in site.
func (s *stage) startSite(options sandbox.SiteOptions) (site *sandbox.Site, url string) {
	site = sandbox.NewSite(options)
	url = s.serve(site)
	site.SetURL(url)
	s.Cleanup(site.Close)
	return site, url
}

func (s *stage) serve(handler http.Handler) (url string) {
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(s, err)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with Close
	s.closing(server)
	return "http://" + listener.Addr().String()
}

// standInTarget is a worker's target on stand-ins.
func standInTarget(redisURL, crmURL, siteURL string, site *sandbox.Site) target {
	user, password := site.Credentials()
	return target{redisURL: redisURL, crmURL: crmURL, siteURL: siteURL, user: user, appPassword: password}
}

// contacts opens the pending contacts, to fill and to watch them.
func (s *stage) contacts(addr string) (*pending.Contacts, *redis.Client) {
	rdb := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 32})
	s.closing(rdb)
	return pending.New(rdb, pending.Options{}), rdb
}

// submit makes the contacts from first on pending, as webhooks would.
func (s *stage) submit(ctx context.Context, contacts *pending.Contacts, first, count int) {
	var wait sync.WaitGroup
	failures := make(chan error, 32)
	for lane := range 32 {
		wait.Go(func() {
			for n := lane; n < count; n += 32 {
				ref := contact.Ref{Site: contact.DefaultSite, ID: idOf(first + n)}
				if _, err := contacts.Submit(ctx, ref, contact.Intent{Action: contact.Update}, contact.Receipt{}); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	wait.Wait()
	close(failures)
	require.NoError(s, <-failures, "making contacts pending")
}

// outstanding is how many contacts still wait for a pass or are in one.
func (s *stage) outstanding(ctx context.Context, contacts *pending.Contacts) int64 {
	stats := s.stats(ctx, contacts)
	return stats.Pending + stats.Active + stats.Retrying
}

func (s *stage) stats(ctx context.Context, contacts *pending.Contacts) pending.Stats {
	stats, err := contacts.Stats(ctx)
	require.NoError(s, err)
	return stats
}

// drained waits until no contact has outstanding work.
func (s *stage) drained(ctx context.Context, contacts *pending.Contacts, within time.Duration) {
	// Each look costs Redis a script on processors that the site needs, too.
	s.eventually(ctx, within, 50*time.Millisecond, "the contacts are not synced", func() bool {
		return s.outstanding(ctx, contacts) == 0
	})
	require.Zero(s, s.stats(ctx, contacts).Parked, "contacts were parked")
}
