package observe

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// RedisCheck is the check "redis": every master answers PING and evicts
// nothing. A Redis that evicts keys loses acknowledged webhooks without a
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
	info, err := rdb.Info(ctx, "memory").Result()
	var refused redis.Error
	if errors.As(err, &refused) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(info) {
		policy, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:")
		if ok && policy != "noeviction" {
			return Unready("its maxmemory-policy evicts keys, set it to noeviction")
		}
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
