package worker_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
	"spillway/internal/worker"
)

// A hundred sites on which nothing happens cost a worker less than five hundred
// Redis commands a second, by Redis's own count and clock.
func TestAHundredIdleSitesCostLittle(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	var sites []worker.Site
	for i := range 100 {
		name := fmt.Sprintf("site-%d", i)
		sites = append(sites, worker.Site{
			Name: name, Contacts: pending.New(rdb, pending.Options{Site: name}), Syncer: passFunc(updated), Gate: openGate{},
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	w := worker.New(worker.Options{
		Redis: rdb, Sites: sites, Concurrency: 64, Log: zerolog.Nop(), Registerer: prometheus.NewRegistry(),
	})
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	polltest.Until(t, 30*time.Second, func() bool { return commands(t, rdb) > 1000 }, "the worker looks")
	before, began := commands(t, rdb), rdb.Time(t.Context()).Val()
	var took time.Duration
	polltest.Until(t, 60*time.Second, func() bool {
		took = rdb.Time(t.Context()).Val().Sub(began)
		return took > 10*time.Second
	}, "ten seconds of Redis's clock have passed")
	rate := float64(commands(t, rdb)-before) / took.Seconds()
	t.Logf("%.0f commands a second", rate)
	require.Less(t, rate, 500.0)
}

// commands is how many Redis has run, those of scripts included.
func commands(t *testing.T, rdb *redis.Client) int {
	t.Helper()
	info, err := rdb.Info(t.Context(), "stats").Result()
	require.NoError(t, err)
	found := regexp.MustCompile(`total_commands_processed:(\d+)`).FindStringSubmatch(info)
	require.NotNil(t, found)
	n, err := strconv.Atoi(found[1])
	require.NoError(t, err)
	return n
}
