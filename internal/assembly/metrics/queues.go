package metrics

import (
	"context"
	"slices"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// queueSizes are the wake-ups in asynq's queues, and who takes them.
type queueSizes struct {
	tasks   map[string]*asynq.QueueInfo
	workers int
}

type queues struct {
	sizes   shared[queueSizes]
	tasks   *prometheus.Desc
	latency *prometheus.Desc
	workers *prometheus.Desc
}

// Queues returns the sizes of asynq's queues, and the number of workers that
// serve one of them. A worker that was killed is counted for ten seconds more.
func Queues(rdb redis.UniversalClient, names func() []string) prometheus.Collector {
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	return &queues{
		sizes: shared[queueSizes]{read: func(context.Context) (queueSizes, error) { return readQueues(inspector, names()) }},
		tasks: prometheus.NewDesc("spillway_queue_tasks",
			"Wake-ups in asynq's queue by state: pending, active, scheduled, retry or archived. The same from every replica.", []string{"queue", "state"}, nil),
		latency: prometheus.NewDesc("spillway_queue_latency_seconds",
			"How long the oldest wake-up that is due has been waiting for a worker. The same from every replica.", []string{"queue"}, nil),
		workers: prometheus.NewDesc("spillway_workers", "Workers that are running. The same from every replica.", nil, nil),
	}
}

func readQueues(inspector *asynq.Inspector, names []string) (queueSizes, error) {
	sizes := queueSizes{tasks: make(map[string]*asynq.QueueInfo, len(names))}
	known, err := inspector.Queues()
	if err != nil {
		return queueSizes{}, err
	}
	for _, name := range names {
		info := &asynq.QueueInfo{}
		if slices.Contains(known, name) { // something was enqueued at some time
			if info, err = inspector.GetQueueInfo(name); err != nil {
				return queueSizes{}, err
			}
		}
		sizes.tasks[name] = info
	}
	servers, err := inspector.Servers()
	if err != nil {
		return queueSizes{}, err
	}
	for _, server := range servers {
		for queue := range server.Queues {
			if sizes.tasks[queue] != nil { // others may use the same Redis
				sizes.workers++
				break
			}
		}
	}
	return sizes, nil
}

// Describe implements [prometheus.Collector].
func (q *queues) Describe(descs chan<- *prometheus.Desc) {
	descs <- q.tasks
	descs <- q.latency
	descs <- q.workers
}

// Collect implements [prometheus.Collector].
func (q *queues) Collect(out chan<- prometheus.Metric) {
	sizes, err := q.sizes.get()
	if err != nil {
		return
	}
	out <- prometheus.MustNewConstMetric(q.workers, prometheus.GaugeValue, float64(sizes.workers))
	for name, info := range sizes.tasks {
		for state, n := range map[string]int{
			"pending": info.Pending, "active": info.Active, "scheduled": info.Scheduled, "retry": info.Retry, "archived": info.Archived,
		} {
			out <- prometheus.MustNewConstMetric(q.tasks, prometheus.GaugeValue, float64(n), name, state)
		}
		out <- prometheus.MustNewConstMetric(q.latency, prometheus.GaugeValue, info.Latency.Seconds(), name)
	}
}
