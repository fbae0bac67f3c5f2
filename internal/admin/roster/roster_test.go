package roster_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/admin/roster"
	"spillway/internal/lab/polltest"
	"spillway/internal/lab/redistest"
)

func list(t *testing.T, r *roster.Roster) []roster.Replica {
	t.Helper()
	replicas, err := r.List(t.Context())
	require.NoError(t, err)
	return replicas
}

func TestReplicasAreListedUntilTheyStop(t *testing.T) {
	t.Parallel()
	r := roster.New(redistest.Start(t).Client())
	require.Empty(t, list(t, r))

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		worker := roster.Replica{
			ID: "w1", Role: roster.Worker, Host: "b", PID: 7, Version: "1.0", Concurrency: 64,
			Settings: []roster.Setting{{Name: "SPILLWAY_CRM_TOKEN", Value: "(set)"}},
		}
		r.Announce(ctx, worker, func() int { return 5 }, func(err error) { t.Error(err) })
	}()
	require.NoError(t, r.Beat(t.Context(), roster.Replica{ID: "i1", Role: roster.Ingest, Host: "z"}))
	polltest.Until(t, 30*time.Second, func() bool { return len(list(t, r)) == 2 }, "both are listed")
	replicas := list(t, r)
	require.Equal(t, "i1", replicas[0].ID)
	worker := replicas[1]
	require.Equal(t, 5, worker.UnderWay)
	require.Equal(t, 64, worker.Concurrency)
	require.Equal(t, []roster.Setting{{Name: "SPILLWAY_CRM_TOKEN", Value: "(set)"}}, worker.Settings)
	require.True(t, worker.Alive)
	require.False(t, worker.Since.IsZero())
	require.False(t, worker.Seen.Before(worker.Since))

	stop()
	<-done
	require.Len(t, list(t, r), 1)
}

func TestASilentReplicaIsShownAsSuchAndForgottenLater(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	r := roster.New(rdb)
	age := func(id string, by time.Duration) {
		now, err := rdb.Time(t.Context()).Result()
		require.NoError(t, err)
		require.NoError(t, rdb.ZAdd(t.Context(), "spw:{replicas}:seen", redis.Z{Member: id, Score: float64(now.Add(-by).UnixMilli())}).Err())
	}
	require.NoError(t, r.Beat(t.Context(), roster.Replica{ID: "killed", Role: roster.Worker}))
	age("killed", time.Minute)
	replicas := list(t, r)
	require.Len(t, replicas, 1)
	require.False(t, replicas[0].Alive)

	age("killed", time.Hour)
	require.NoError(t, r.Beat(t.Context(), roster.Replica{ID: "alive", Role: roster.Worker}))
	replicas = list(t, r)
	require.Len(t, replicas, 1)
	require.Equal(t, "alive", replicas[0].ID)
}

func TestAnAbsentRedisIsReported(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := roster.New(server.Client())
	server.Kill()
	_, err := r.List(t.Context())
	require.ErrorContains(t, err, "listing replicas")
	require.ErrorContains(t, r.Beat(t.Context(), roster.Replica{ID: "x"}), "announcing replica x")
}
