package observe

import (
	"context"
	"crypto/tls"
	"errors"
	"strconv"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// RedisCheck is the check "redis": every master answers PING, takes writes and
// evicts nothing. A Redis that evicts keys loses acknowledged webhooks without a
// word, so such a maxmemory-policy is as bad as no Redis. A server that does
// not permit or know INFO passes.
func RedisCheck(rdb redis.UniversalClient) Check {
	return Check{Name: "redis", Run: func(ctx context.Context) error {
		if cluster, ok := rdb.(*redis.ClusterClient); ok {
			return unreadyRedis(cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
				return checkRedis(ctx, node)
			}))
		}
		return unreadyRedis(checkRedis(ctx, rdb))
	}}
}

func checkRedis(ctx context.Context, rdb redis.Cmdable) error {
	if err := rdb.Ping(ctx).Err(); err != nil {
		return err
	}
	text, err := rdb.Info(ctx).Result()
	var refused redis.Error
	if errors.As(err, &refused) {
		return nil
	}
	if err != nil {
		return err
	}
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return writable(info)
}

// writable says why a Redis that answers would refuse a webhook, or lose it.
func writable(info map[string]string) error {
	number := func(name string) float64 {
		n, _ := strconv.ParseFloat(info[name], 64)
		return n
	}
	policy, evicts := info["maxmemory_policy"]
	limit, counted := number("maxmemory"), number("used_memory")-number("mem_not_counted_for_evict")
	switch {
	case evicts && policy != "noeviction":
		return Unready("its maxmemory-policy evicts keys, set it to noeviction")
	case info["role"] == "slave":
		return Unready("is a replica, which takes no writes")
	case info["min_slaves_good_slaves"] == "0":
		return Unready("takes no writes, since no replica is in step (min-replicas-to-write)")
	case info["aof_last_write_status"] == "err":
		return Unready("cannot write its append-only file, is the disk full?")
	case limit > 0 && counted >= limit:
		return Unready("is full (maxmemory)")
	}
	return nil
}

// unreadyRedis says of the usual failures what they are, without the address.
func unreadyRedis(err error) error {
	if err == nil {
		return nil
	}
	var unready Unready
	var answered redis.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &unready):
		return unready
	case errors.As(err, &certificate):
		return Unready("shows a certificate that is not trusted, check the host of SPILLWAY_REDIS_URL and SPILLWAY_CA")
	case errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, syscall.ECONNREFUSED):
		return Unready("refuses connections")
	case errors.As(err, &answered):
		return Unready("answers " + code(answered.Error()))
	default:
		return Unready("does not answer")
	}
}

// code returns the first word of a Redis error, such as NOAUTH or LOADING; the
// rest may hold names.
func code(message string) string {
	word, _, _ := strings.Cut(message, " ")
	for _, r := range word {
		if r < 'A' || r > 'Z' {
			return "an error"
		}
	}
	return word
}
