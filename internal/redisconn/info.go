package redisconn

import (
	"context"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// EachMaster asks the server behind a client, or each master of a cluster; of a
// cluster several at once.
func EachMaster(ctx context.Context, client redis.UniversalClient, ask func(ctx context.Context, node redis.Cmdable) error) error {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return ask(ctx, client)
	}
	return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return ask(ctx, node) })
}

// Info is what a server tells of itself, by name.
type Info map[string]string

// ReadInfo asks a server. Without sections it tells what INFO tells by default.
// The error is Redis's own where INFO is not permitted.
func ReadInfo(ctx context.Context, node redis.Cmdable, sections ...string) (Info, error) {
	text, err := node.Info(ctx, sections...).Result()
	if err != nil {
		return nil, err
	}
	info := make(Info)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info, nil
}

// Number returns a value as a number; zero: there is none.
func (i Info) Number(name string) float64 {
	n, _ := strconv.ParseFloat(i[name], 64)
	return n
}

// Memory returns how many bytes the server uses of those that it may use: its
// maxmemory, or its machine's memory where it has none. What Redis itself does
// not count against maxmemory is left out. Both are zero where it does not tell.
func (i Info) Memory() (used, limit float64) {
	used, limit = i.Number("used_memory"), i.Number("maxmemory")
	if limit > 0 {
		return max(used-i.Number("mem_not_counted_for_evict"), 0), limit
	}
	return used, i.Number("total_system_memory")
}
