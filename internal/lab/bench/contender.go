package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/hibiken/asynq"
	"github.com/labstack/echo/v4"
)

// The hidden parts of the program: the load generator, the servers that ingest
// is compared with, and what keeps a processor busy.
const (
	partLoad    = "load"
	partEcho    = "echo"
	partEnqueue = "enqueue"
	partHog     = "hog"
)

// Part runs one of the processes that a benchmark starts beside the programs.
func Part(ctx context.Context, name string) error {
	switch name {
	case partLoad:
		return generate(ctx, os.Stdin, os.Stdout)
	case partEcho:
		return contend(ctx, func(context.Context, string) error { return nil })
	case partEnqueue:
		client := asynq.NewClient(asynq.RedisClientOpt{Addr: os.Getenv("BENCH_REDIS")})
		defer client.Close()
		return contend(ctx, func(ctx context.Context, id string) error {
			_, err := client.EnqueueContext(ctx, asynq.NewTask("contact", []byte(id)), asynq.Queue("plain"))
			return err
		})
	case partHog:
		for ctx.Err() == nil {
		}
		return nil
	}
	return fmt.Errorf("no part is named %q", name)
}

// contend serves webhooks as the simplest echo server would: no key is
// checked, nothing is measured, the answer has the form of ingest's.
func contend(ctx context.Context, record func(ctx context.Context, id string) error) error {
	e := echo.New()
	take := func(c echo.Context) error {
		id := c.QueryParam("contact_id")
		if err := record(c.Request().Context(), id); err != nil {
			return c.JSON(http.StatusServiceUnavailable, map[string]string{"error": "unavailable"})
		}
		return c.JSON(http.StatusOK, struct {
			Status    string `json:"status"`
			ContactID string `json:"contact_id"`
		}{"queued", id})
	}
	e.GET("/*", take)
	e.POST("/*", take)
	e.GET("/healthz", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
	e.GET("/mallocs", func(c echo.Context) error {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		_, err := fmt.Fprintf(c.Response(), "go_memstats_mallocs_total %d\ngo_memstats_alloc_bytes_total %d\n", stats.Mallocs, stats.TotalAlloc)
		return err
	})
	server := &http.Server{Addr: os.Getenv("BENCH_ADDR"), Handler: e, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

// contender starts one of the servers that ingest is compared with.
func (s *stage) contender(ctx context.Context, part, redisAddr string) (p *process, addr string) {
	addr = s.freeAddr()
	p = s.launch(part, s.options.Self, map[string]string{"BENCH_ADDR": addr, "BENCH_REDIS": redisAddr}, PartCommand, part)
	s.await(ctx, p, "http://"+addr+"/healthz")
	return p, addr
}

// send runs the generator; every webhook must be accepted.
func (s *stage) send(ctx context.Context, l load) loaded {
	var seen loaded
	s.part(ctx, partLoad, l, &seen)
	if seen.Refused > 0 || seen.Accepted == 0 {
		s.Fatal(fmt.Sprintf("%d webhooks were accepted, %d were not: %s", seen.Accepted, seen.Refused, seen.Problem))
	}
	return seen
}
