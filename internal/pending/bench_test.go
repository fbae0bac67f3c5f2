package pending_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/pendingtest"
	"spillway/internal/lab/redistest"
	"spillway/internal/pending"
	"spillway/internal/redisconn"
)

// figures are what a load found.
type figures struct {
	rate     float64 // a second
	p50, p99 time.Duration
}

// load calls submit from so many goroutines for a time, with a number of its
// own each time.
func load(b *testing.B, callers int, lasts time.Duration, submit func(ctx context.Context, n int) error) figures {
	b.Helper()
	var next atomic.Int64
	took := make([][]time.Duration, callers)
	var all sync.WaitGroup
	began := time.Now()
	for i := range callers {
		all.Go(func() {
			for time.Since(began) < lasts {
				start := time.Now()
				if err := submit(context.Background(), int(next.Add(1))); err != nil {
					b.Errorf("submitting: %v", err)
					return
				}
				took[i] = append(took[i], time.Since(start))
			}
		})
	}
	all.Wait()
	whole := time.Since(began)
	times := slices.Concat(took...)
	require.NotEmpty(b, times)
	slices.Sort(times)
	return figures{
		rate: float64(len(times)) / whole.Seconds(),
		p50:  times[len(times)/2], p99: times[len(times)*99/100],
	}
}

func open(b *testing.B, server *redistest.Server) redis.UniversalClient {
	b.Helper()
	client, err := redisconn.Open(server.URL(), redisconn.ForIngest)
	require.NoError(b, err)
	b.Cleanup(func() { _ = client.Close() })
	return client
}

func numbered(n int) contact.Ref {
	return contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(pendingtest.FirstID + n)}
}

// BenchmarkWaysToSubmit compares what a webhook costs with one script for each,
// with go-redis's auto-pipelining of these scripts, and gathered, against
// asynq's own Enqueue. 256 callers.
func BenchmarkWaysToSubmit(b *testing.B) {
	const callers, lasts, rounds = 256, time.Second, 3
	receipt := contact.Receipt{RequestID: "0123456789a"}
	for _, distinct := range []int{1 << 40, 1000} {
		name := "unique contacts"
		if distinct == 1000 {
			name = "1000 hot contacts"
		}
		b.Run(name, func(b *testing.B) {
			server := redistest.Start(b)
			plain, piped := open(b, server), open(b, server)
			auto, err := piped.(*redis.Client).AutoPipeline()
			require.NoError(b, err)
			b.Cleanup(func() { _ = auto.Close() })
			tasks := asynq.NewClientFromRedisClient(plain)
			single, pipelined := pending.New(plain, pending.Options{}), pending.New(auto, pending.Options{})
			intake := pending.NewIntake(single)
			ways := []struct {
				name   string
				submit func(ctx context.Context, n int) error
			}{
				{"asynq enqueue", func(ctx context.Context, n int) error {
					_, err := tasks.EnqueueContext(ctx, asynq.NewTask("bench", nil), asynq.Queue("bench"), asynq.Timeout(time.Minute))
					return err
				}},
				{"script each", func(ctx context.Context, n int) error {
					_, err := single.Submit(ctx, numbered(n%distinct), upd, receipt)
					return err
				}},
				{"auto-pipelined", func(ctx context.Context, n int) error {
					_, err := pipelined.Submit(ctx, numbered(n%distinct), upd, receipt)
					return err
				}},
				{"gathered", func(ctx context.Context, n int) error {
					_, err := intake.Submit(ctx, numbered(n%distinct), upd, receipt)
					return err
				}},
			}
			for b.Loop() {
				var base figures
				for _, way := range ways {
					var found figures
					for range rounds {
						require.NoError(b, plain.FlushAll(context.Background()).Err())
						one := load(b, callers, lasts, way.submit)
						found.rate += one.rate / rounds
						found.p50 += one.p50 / rounds
						found.p99 += one.p99 / rounds
					}
					if base.rate == 0 {
						base = found
					}
					b.Logf("%-15s %7.0f/s  %4.2f of asynq's enqueue  p50 %v  p99 %v (%4.2f)", way.name, found.rate, found.rate/base.rate,
						found.p50.Round(10*time.Microsecond), found.p99.Round(10*time.Microsecond), float64(found.p99)/float64(base.p99))
				}
			}
		})
	}
}

// BenchmarkConfirmed compares gathered webhooks on a master with a replica that
// were confirmed by the replica (min-replicas-to-write 1) and that were not.
func BenchmarkConfirmed(b *testing.B) {
	const lasts, rounds = time.Second, 5
	server := redistest.StartSentinel(b).Master
	rdb := open(b, server)
	receipt := contact.Receipt{RequestID: "0123456789a"}
	for b.Loop() {
		for _, callers := range []int{1, 256} {
			var found [2]figures
			for range rounds {
				for needed := range found {
					require.NoError(b, rdb.ConfigSet(context.Background(), "min-replicas-to-write", strconv.Itoa(needed)).Err())
					require.NoError(b, rdb.FlushAll(context.Background()).Err())
					intake := pending.NewIntake(pending.New(rdb, pending.Options{}))
					one := load(b, callers, lasts, func(ctx context.Context, n int) error {
						_, err := intake.Submit(ctx, numbered(n), upd, receipt)
						return err
					})
					found[needed].rate += one.rate / rounds
					found[needed].p50 += one.p50 / rounds
					found[needed].p99 += one.p99 / rounds
				}
			}
			for needed, one := range found {
				b.Logf("%3d callers, min-replicas-to-write %d: %6.0f/s  p50 %v  p99 %v  %4.2f of the rate", callers, needed, one.rate,
					one.p50.Round(10*time.Microsecond), one.p99.Round(10*time.Microsecond), one.rate/found[0].rate)
			}
		}
	}
}

// BenchmarkGrowth compares gathered webhooks, and a single one's latency, with
// 1,000, 100,000 and 1,000,000 contacts pending. Bound: within 1.2 of each
// other.
func BenchmarkGrowth(b *testing.B) {
	const callers, lasts, bound = 256, 2 * time.Second, 1.2
	server := redistest.Start(b)
	rdb := open(b, server)
	contacts := pending.New(rdb, pending.Options{})
	intake := pending.NewIntake(contacts)
	receipt := contact.Receipt{RequestID: "0123456789a"}
	for b.Loop() {
		var base, baseLone figures
		filled, fresh := 0, 10_000_000 // ids of their own for each load
		for _, n := range []int{1_000, 100_000, 1_000_000} {
			require.NoError(b, pendingtest.Fill(context.Background(), contacts, filled, n-filled))
			filled = n
			found := load(b, callers, lasts, func(ctx context.Context, i int) error {
				_, err := intake.Submit(ctx, numbered(fresh+i), upd, receipt)
				return err
			})
			fresh += 10_000_000
			lone := load(b, 1, lasts, func(ctx context.Context, i int) error {
				_, err := contacts.Submit(ctx, numbered(fresh+i), upd, receipt)
				return err
			})
			fresh += 10_000_000
			if base.rate == 0 {
				base, baseLone = found, lone
			}
			b.Logf("%8d pending: %7.0f/s  %4.2f of the first; a lone webhook %v  %4.2f of the first (bound %.1f)",
				n, found.rate, found.rate/base.rate, lone.p50.Round(time.Microsecond), float64(lone.p50)/float64(baseLone.p50), bound)
		}
	}
}

// BenchmarkHistory compares gathered webhooks and whole passes with and without
// what is kept of them: receipts in the record and events on the timeline.
func BenchmarkHistory(b *testing.B) {
	const callers, lasts, rounds = 64, time.Second, 3
	rdb := open(b, redistest.Start(b))
	contacts := pending.New(rdb, pending.Options{})
	event := `{"time":"2026-01-02T03:04:05Z","kind":"synced","action":"update","outcome":"updated","user_id":42,"waited_ms":512,"took_ms":231,` +
		`"webhooks":[{"at":"2026-01-02T03:04:04Z","action":"update","request_id":"0123456789a"}],"covered":1,"request_id":"0123456789a"}`
	pass := func(event string) func(ctx context.Context, n int) error {
		return func(ctx context.Context, n int) error {
			ref := numbered(n % 50_000)
			if _, err := contacts.Submit(ctx, ref, upd, contact.Receipt{RequestID: "0123456789a"}); err != nil {
				return err
			}
			epoch, err := rdb.HGet(ctx, "spw:{spillway}:c:"+ref.String(), "epoch").Result()
			if err != nil {
				return err
			}
			claim, err := contacts.Claim(ctx, ref.String()+":"+epoch)
			if err != nil {
				return err
			}
			_, err = claim.Finish(ctx, event)
			return err
		}
	}
	for b.Loop() {
		var without, with figures
		for range rounds {
			require.NoError(b, rdb.FlushAll(context.Background()).Err())
			without.rate += load(b, callers, lasts, pass("")).rate / rounds
			require.NoError(b, rdb.FlushAll(context.Background()).Err())
			with.rate += load(b, callers, lasts, pass("+"+event)).rate / rounds
		}
		b.Logf("webhook, claim and finish: %.0f/s without an event, %.0f/s with one: %.2f", without.rate, with.rate, with.rate/without.rate)
	}
}
