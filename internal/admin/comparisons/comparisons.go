// Package comparisons keeps in Redis what the last comparison of a site with its
// CRM found, for the dashboard, for metrics, and for the doctor.
//
// It guarantees: a comparison that did not come to its end changes none of the
// figures, it only says so. It holds ids of contacts and users and counts, a few
// kilobytes a site.
package comparisons

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// The ways in which a comparison is begun.
const (
	ByCommand  = "command"
	BySchedule = "schedule"
)

// Comparison is what the last one found.
type Comparison struct {
	Site  string    `json:"site"`
	By    string    `json:"by"`
	Began time.Time `json:"began,omitzero"` // zero: none has come to its end
	Ended time.Time `json:"ended,omitzero"`

	Tags     int   `json:"tags"` // that were compared
	Contacts int   `json:"contacts"`
	Users    int   `json:"users"`
	Calls    int64 `json:"crm_calls"`

	// Differences counts contacts by kind; Before is what the comparison before
	// found, nil if there was none.
	Differences map[string]int `json:"differences"`
	Before      map[string]int `json:"before,omitempty"`
	Unproven    bool           `json:"unproven,omitempty"` // contacts without a user were counted from the lists alone
	Outstanding int            `json:"outstanding"`
	Parked      int            `json:"parked"`
	Moving      int            `json:"moving"`
	Refused     int            `json:"refused"`
	Examples    []Example      `json:"examples"`

	// Failure says why the newest comparison, at FailedAt, did not come to its
	// end; empty: it did.
	Failure  string    `json:"failure,omitempty"`
	FailedAt time.Time `json:"failed_at,omitzero"`
}

// Example is a contact that differs.
type Example struct {
	Contact string  `json:"contact_id"`
	Kind    string  `json:"kind"`
	Users   []int64 `json:"user_ids,omitempty"`
}

// Total is how many contacts differ.
func (c Comparison) Total() int { return sum(c.Differences) }

// Grown says that more contacts differ than at the comparison before.
func (c Comparison) Grown() bool { return c.Before != nil && c.Total() > sum(c.Before) }

func sum(counts map[string]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

// Store is where comparisons are kept.
type Store struct{ rdb redis.UniversalClient }

// New returns the comparisons in a Redis.
func New(rdb redis.UniversalClient) *Store { return &Store{rdb} }

// timeout bounds one question to Redis.
const timeout = 5 * time.Second

func key(site string) string { return "spw:reconcile:" + site + ":last" }

// KeysOf names what Redis holds of a site's comparisons, their lock included; the *
// at the end stands for anything.
func KeysOf(site string) []string { return []string{"spw:reconcile:" + site + ":*"} }

// Read returns a site's last comparison; ok is false if there is none.
func (s *Store) Read(ctx context.Context, site string) (c Comparison, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	text, err := s.rdb.Get(ctx, key(site)).Bytes()
	if errors.Is(err, redis.Nil) {
		return Comparison{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		return Comparison{}, false, fmt.Errorf("reading the last comparison of site %s: %w", site, err)
	}
	return c, true, nil
}

// Write keeps a comparison, with what the one before found.
func (s *Store) Write(ctx context.Context, c Comparison) error {
	last, found, err := s.Read(ctx, c.Site)
	if err != nil {
		return err
	}
	if c.Before = nil; found && !last.Began.IsZero() {
		c.Before = last.Differences
	}
	return s.put(ctx, c)
}

// Fail notes that a comparison did not come to its end.
func (s *Store) Fail(ctx context.Context, site string, at time.Time, reason string) error {
	last, _, err := s.Read(ctx, site)
	if err != nil {
		return err
	}
	last.Site, last.Failure, last.FailedAt = site, reason, at
	return s.put(ctx, last)
}

func (s *Store) put(ctx context.Context, c Comparison) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	text, err := json.Marshal(c)
	if err == nil {
		err = s.rdb.Set(ctx, key(c.Site), text, 0).Err()
	}
	if err != nil {
		return fmt.Errorf("keeping the comparison of site %s: %w", c.Site, err)
	}
	return nil
}
