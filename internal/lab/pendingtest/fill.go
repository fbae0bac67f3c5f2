// Package pendingtest makes pending contacts by the hundred thousand, for tests
// and benchmarks of how things grow.
package pendingtest

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"spillway/internal/contact"
	"spillway/internal/pending"
)

// FirstID is the id of the first contact that [Fill] makes: ids have the length
// that a real account's have.
const FirstID = 1_000_000

// Fill submits one update for each of n contacts, FirstID+from and following,
// with a request id as ingest makes them.
func Fill(ctx context.Context, contacts *pending.Contacts, from, n int) error {
	const batch = 2000
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for first := from; first < from+n; first += batch {
		group.Go(func() error {
			webhooks := make([]pending.Webhook, 0, batch)
			for i := first; i < min(first+batch, from+n); i++ {
				webhooks = append(webhooks, pending.Webhook{
					Ref:     contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(FirstID + i)},
					Intent:  contact.Intent{Action: contact.Update},
					Receipt: contact.Receipt{RequestID: fmt.Sprintf("r%010d", i)},
				})
			}
			return contacts.SubmitAll(ctx, webhooks)
		})
	}
	return group.Wait()
}

// UsedMemory returns the bytes that Redis's data set takes, as Redis counts
// them, on one server.
func UsedMemory(ctx context.Context, rdb redis.UniversalClient) (int64, error) {
	info, err := rdb.InfoMap(ctx, "memory").Result()
	if err != nil {
		return 0, fmt.Errorf("reading the memory of Redis: %w", err)
	}
	used, err := strconv.ParseInt(info["Memory"]["used_memory"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading the memory of Redis: %w", err)
	}
	return used, nil
}
