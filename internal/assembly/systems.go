package assembly

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"spillway/internal/assembly/metrics"
	"spillway/internal/config"
	"spillway/internal/observe"
	"spillway/internal/site/guard"
	"spillway/internal/throttle"
)

// Systems reads what the replicas share about a site and its CRM.
func Systems(rdb redis.UniversalClient, settings config.Config) *throttle.Statuses {
	return throttle.NewStatuses(rdb, settings.Name, settings.CRM.Account, throttle.SiteFacts{Key: guard.Key(settings.Name), Read: guard.Facts})
}

// systemsReader reads what is known of the CRM and the site of one site.
type systemsReader = metrics.Statuses

// systemChecks list in /readyz each CRM and site that is not called at present.
// The program stays ready all the same: contacts wait, and webhooks are accepted.
func systemChecks(sites func() map[string]systemsReader) []observe.Check {
	checks := make([]observe.Check, 0, 2)
	for _, system := range []string{throttle.CRM, throttle.Site} {
		checks = append(checks, observe.Check{Name: system, Run: func(ctx context.Context) error {
			all := sites()
			var away []string
			for _, name := range slices.Sorted(maps.Keys(all)) {
				statuses, err := all[name].Read(ctx)
				if err != nil {
					return nil //nolint:nilerr // the check of Redis says so
				}
				for _, status := range statuses {
					if status.System != system || status.State == throttle.Closed {
						continue
					}
					if len(all) == 1 {
						return observe.Degraded(describe(status))
					}
					away = append(away, name+": "+describe(status))
				}
			}
			if len(away) > 0 {
				return observe.Degraded(strings.Join(away, "; "))
			}
			return nil
		}})
	}
	return checks
}

// held reports that no pass begins, because a system is away or the CRM has asked
// for a pause. Holds of a second or less do not count: nobody notices them.
func held(systems systemsReader) func(context.Context) bool {
	return func(ctx context.Context) bool {
		all, err := systems.Read(ctx)
		return err != nil || slices.ContainsFunc(all, func(s throttle.Status) bool {
			return s.State == throttle.Open || s.Facts["held_seconds"] > 1
		})
	}
}

// describe says in one line how a system is. It leaves the reason out, which may
// name hosts, because anyone may read /readyz.
func describe(status throttle.Status) string {
	since := status.Since.Format("2006-01-02 15:04:05 MST")
	if status.State == throttle.HalfOpen {
		return fmt.Sprintf("half_open: away since %s, a probe is under way; contacts wait", since)
	}
	return fmt.Sprintf("open: away since %s, the next probe is due at %s; contacts wait", since, status.RetryAt.Format("15:04:05 MST"))
}

// bySite makes one thing of each site, under the lock that guards the sites.
func bySite[S, T any](mu sync.Locker, all map[string]S, of func(name string, one S) T) map[string]T {
	mu.Lock()
	defer mu.Unlock()
	made := make(map[string]T, len(all))
	for name, one := range all {
		made[name] = of(name, one)
	}
	return made
}
