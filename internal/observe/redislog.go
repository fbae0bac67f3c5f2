package observe

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

// LogRedis writes what go-redis says by itself into the log, as warnings: a
// failover, a connection that is lost. While Redis is away that is much, so it
// is ten lines in ten seconds at most. It holds for the whole process.
func LogRedis(log zerolog.Logger) {
	redis.SetLogger(redisLog{log.Sample(&zerolog.BurstSampler{Burst: 10, Period: 10 * time.Second})})
}

type redisLog struct{ log zerolog.Logger }

// userInfo is what stands before the host of an address.
var userInfo = regexp.MustCompile(`[^\s"'/@]*:[^\s"'/@]*@`)

// Printf is called by go-redis, whose addresses are HOST:PORT. An address with
// credentials in it, of some error, loses them.
func (l redisLog) Printf(_ context.Context, format string, args ...any) {
	text := userInfo.ReplaceAllString(fmt.Sprintf(format, args...), "")
	l.log.Warn().Str("component", "redis").Msg(text)
}
