// Package gone knows the sites that have no settings any more and of which Redis
// still holds something: contacts that wait, timelines, counts.
//
// It guarantees that what waits for such a site stays until a person drops it, and
// that dropping touches no site that has a file here or that a program serves, on
// any machine. Dropping leaves nothing of the site in Redis; what belongs to the
// CRM account, which other sites may use, stays.
package gone

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"spillway/internal/contact"
	"spillway/internal/pending"
	"spillway/internal/redisconn"
	"spillway/internal/sites"
)

const (
	// servedKey is a sorted set site → when a program last served it, in ms by
	// Redis's clock: every site that there ever was and that nobody has dropped.
	servedKey = "spw:sites"
	// Beat is how often a program says which sites it serves.
	Beat = 10 * time.Second
	// silence is how long after its last beat a site counts as served.
	silence = 3 * Beat
	// callTimeout bounds one question to Redis.
	callTimeout = 5 * time.Second
)

// Sites are those of an installation that have gone.
type Sites struct {
	rdb    redis.UniversalClient
	folder string
	keysOf func(site string) []string
}

// New returns the sites that have no file in a folder; without a folder, all but
// [contact.DefaultSite]. keysOf names a site's keys in Redis; a * at the end of one
// stands for anything.
func New(rdb redis.UniversalClient, folder string, keysOf func(site string) []string) *Sites {
	return &Sites{rdb, folder, keysOf}
}

// Site is one of them.
type Site struct {
	Name  string
	Stats pending.Stats
	// Served says that a program served it within the last half minute: somewhere it
	// still has a file.
	Served bool
}

// Serve says that this program serves these sites.
func (s *Sites) Serve(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	now, err := s.rdb.Time(ctx).Result()
	if err == nil {
		members := make([]redis.Z, 0, len(names))
		for _, name := range names {
			members = append(members, redis.Z{Score: float64(now.UnixMilli()), Member: name})
		}
		err = s.rdb.ZAdd(ctx, servedKey, members...).Err()
	}
	if err != nil {
		return fmt.Errorf("noting which sites are served: %w", err)
	}
	return nil
}

// Names returns the names of the sites that have gone, sorted.
func (s *Sites) Names(ctx context.Context) ([]string, error) {
	silent, err := s.silent(ctx)
	return slices.Sorted(maps.Keys(silent)), err
}

// silent returns for how long no program has served the sites that have no file.
func (s *Sites) silent(ctx context.Context) (map[string]time.Duration, error) {
	files := []string{contact.DefaultSite}
	if s.folder != "" {
		var err error
		if files, err = sites.Names(s.folder); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	known, err := s.rdb.ZRangeWithScores(ctx, servedKey, 0, -1).Result()
	var now time.Time
	if err == nil {
		now, err = s.rdb.Time(ctx).Result()
	}
	if err != nil {
		return nil, fmt.Errorf("reading which sites there were: %w", err)
	}
	all := make(map[string]time.Duration)
	for _, entry := range known {
		if name, _ := entry.Member.(string); name != "" && !slices.Contains(files, name) {
			all[name] = now.Sub(time.UnixMilli(int64(entry.Score)))
		}
	}
	return all, nil
}

// List returns the sites that have gone with their counts, sorted by name.
func (s *Sites) List(ctx context.Context) ([]Site, error) {
	const atOnce = 8
	silent, err := s.silent(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Site, 0, len(silent))
	for name, ago := range silent {
		list = append(list, Site{Name: name, Served: ago < silence})
	}
	slices.SortFunc(list, func(a, b Site) int { return strings.Compare(a.Name, b.Name) })
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range list {
		group.Go(func() error {
			contacts, err := pending.Kept(ctx, s.rdb, list[i].Name)
			if err == nil {
				list[i].Stats, err = contacts.Stats(ctx)
			}
			return err
		})
	}
	return list, group.Wait()
}

// ErrUnknown says that no site of this name has gone.
var ErrUnknown = errors.New("no site of this name has gone: it has a file, or Redis holds nothing of it")

// InUse says that a site cannot be dropped now.
type InUse struct{ Reason string }

func (e *InUse) Error() string { return e.Reason }

// Drop forgets a site that has gone and returns how many keys of it Redis held.
// The error is [ErrUnknown] or an [*InUse] if nothing was dropped. A drop that was
// cut off is finished by the next one.
func (s *Sites) Drop(ctx context.Context, name string) (keys int, err error) {
	silent, err := s.silent(ctx)
	if err != nil {
		return 0, err
	}
	ago, ok := silent[name]
	if !ok {
		return 0, ErrUnknown
	}
	if ago < silence {
		return 0, &InUse{fmt.Sprintf("a program served %s %d s ago: remove its file from the folder of every ingest and worker, and try again after %d s", name, int(ago.Seconds()), int(silence.Seconds()))}
	}
	contacts, err := pending.Kept(ctx, s.rdb, name)
	if err != nil {
		return 0, err
	}
	underWay, err := contacts.UnderWay(ctx)
	if err != nil {
		return 0, err
	}
	if underWay > 0 {
		return 0, &InUse{fmt.Sprintf("%d passes of %s are under way: try again in a minute", underWay, name)}
	}
	if keys, err = s.remove(ctx, name); err != nil {
		return keys, fmt.Errorf("dropping the site %s: %w", name, err)
	}
	if err := s.rdb.ZRem(ctx, servedKey, name).Err(); err != nil {
		return keys, fmt.Errorf("dropping the site %s: %w", name, err)
	}
	return keys, nil
}

// remove deletes the keys of a site, on each master.
func (s *Sites) remove(ctx context.Context, name string) (keys int, err error) {
	if err := pending.Unlist(ctx, s.rdb, name); err != nil {
		return 0, err
	}
	const scanned = 1000
	patterns, match := s.keysOf(name), "*"
	if name != contact.DefaultSite {
		match = "*" + name + "*"
	}
	var deleted atomic.Int64
	err = redisconn.EachMaster(ctx, s.rdb, func(ctx context.Context, node redis.Cmdable) error {
		for cursor := uint64(0); ; {
			found, next, err := node.Scan(ctx, cursor, match, scanned).Result()
			if err != nil {
				return err
			}
			pipe := node.Pipeline()
			for _, key := range found {
				if matches(patterns, key) {
					pipe.Unlink(ctx, key)
				}
			}
			if n := pipe.Len(); n > 0 {
				deleted.Add(int64(n))
				if _, err := pipe.Exec(ctx); err != nil {
					return err
				}
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	})
	return int(deleted.Load()), err
}

func matches(patterns []string, key string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, open := strings.CutSuffix(pattern, "*")
		return key == pattern || open && strings.HasPrefix(key, prefix)
	})
}
