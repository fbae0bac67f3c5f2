package throttle

import (
	"context"
	"errors"
	"maps"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"spillway/internal/contact"
)

// The systems that Spillway calls, as breakers and statuses name them.
const (
	CRM  = "crm"
	Site = "site"
)

// Where what the replicas share stands in Redis.

// BudgetKey is that of a CRM account; empty: that of [contact.DefaultSite]'s.
func BudgetKey(account string) string { return "spw:{" + of(CRM, account) + "}:budget" }

// SlotsKey is that of a site's requests under way.
func SlotsKey(site string) string { return "spw:{" + of(Site, named(site)) + "}:slots" }

// PlacesKey is that of a site's passes under way.
func PlacesKey(site string) string { return "spw:{" + of(Site, named(site)) + "}:places" }

func breakerKey(system, site string) string { return "spw:{" + of(system, named(site)) + "}:breaker" }

// KeysOf names what Redis holds of a site's limits, its guard included, but for the
// CRM's budget, which belongs to the CRM account; a * at the end of one stands for
// anything.
func KeysOf(site string) []string {
	return []string{breakerKey(CRM, site), "spw:{" + of(Site, named(site)) + "}:*"}
}

// of is a hash tag: one node of a cluster has what belongs together.
func of(system, whose string) string {
	if whose == "" {
		return system
	}
	return system + "." + whose
}

// named leaves the only site of an installation out of its keys, as they were
// before there were several.
func named(site string) string {
	if site == contact.DefaultSite {
		return ""
	}
	return site
}

// Statuses reads what the replicas share about the systems of a site. It needs nothing
// but Redis, so any process can show it.
type Statuses struct {
	rdb     redis.UniversalClient
	of      string
	account string
	site    SiteFacts
}

// SiteFacts say how hard the site is pressed: a string in Redis and the
// function that reads it. The zero value knows nothing.
type SiteFacts struct {
	Key  string
	Read func(value string) map[string]float64
}

// NewStatuses returns a reader for a site, whose CRM account has a budget of its
// own, see [BudgetKey].
func NewStatuses(rdb redis.UniversalClient, site, account string, facts SiteFacts) *Statuses {
	return &Statuses{rdb: rdb, of: site, account: account, site: facts}
}

// Read returns the CRM's status and the site's. It costs a handful of short
// commands in one round trip. The error is an [*Unavailable].
func (s *Statuses) Read(ctx context.Context) ([]Status, error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	var crm, site, budget *redis.MapStringStringCmd
	var inFlight *redis.IntCmd
	var pressed *redis.StringCmd
	// In a cluster the keys are on several nodes; a pipeline may be, too.
	_, err := s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		crm, site = pipe.HGetAll(ctx, breakerKey(CRM, s.of)), pipe.HGetAll(ctx, breakerKey(Site, s.of))
		budget, inFlight = pipe.HGetAll(ctx, BudgetKey(s.account)), pipe.ZCard(ctx, SlotsKey(s.of))
		if s.site.Key != "" {
			pressed = pipe.Get(ctx, s.site.Key)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, &Unavailable{Attempt: "reading the state of the systems", Err: err}
	}
	statuses := []Status{statusOf(CRM, crm.Val()), statusOf(Site, site.Val())}
	if rate, err := strconv.ParseFloat(budget.Val()["rate"], 64); err == nil {
		statuses[0].Facts["rate_per_second"] = rate
	}
	if until, err := strconv.ParseFloat(budget.Val()["until"], 64); err == nil {
		if held := time.Until(time.UnixMilli(int64(until))); held > 0 {
			statuses[0].Facts["held_seconds"] = math.Ceil(held.Seconds())
		}
	}
	if pressed != nil {
		maps.Copy(statuses[1].Facts, s.site.Read(pressed.Val()))
	}
	statuses[1].Facts["in_flight"] = float64(inFlight.Val())
	return statuses, nil
}

func statusOf(system string, fields map[string]string) Status {
	status := Status{System: system, State: fields["state"], Since: millis(fields["since"]), Facts: map[string]float64{}}
	if status.State == "" {
		status.State = Closed
		return status
	}
	status.Reason = fields["reason"]
	if status.State == Open {
		status.RetryAt = millis(fields["retry_at"])
	}
	return status
}

func millis(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}
