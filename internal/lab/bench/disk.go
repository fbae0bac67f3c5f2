package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
	"spillway/internal/lab/slowdisk"
)

// slowSync is how much longer a sync takes on the slow disk: what a small
// virtual machine's network disk takes when others use it.
const slowSync = 20 * time.Millisecond

// diskRows measure what it costs that Redis syncs its file with each write: an
// acknowledged webhook then survives a killed Redis on any disk, and a crash of
// its machine.
func diskRows(ctx context.Context, s *stage) []Row {
	slow, err := slowdisk.Environ(ctx, s.dir, slowSync)
	require.NoError(s, err)
	var rows []Row
	for _, disk := range []struct {
		name    string
		environ []string
	}{
		{"this disk", nil},
		{fmt.Sprintf("a disk whose syncs take %v longer", slowSync), slow},
	} {
		rows = append(rows, s.syncs(ctx, disk.name, disk.environ)...)
	}
	return rows
}

func (s *stage) syncs(ctx context.Context, disk string, environ []string) []Row {
	on := func(fsync string) *side {
		server := redistest.StartIn(s, environ, "--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0")
		ingest, webhooks, admin := s.ingest(ctx, server.URL(), nil)
		s.Cleanup(ingest.stop)
		return &side{name: fsync, process: ingest, addr: webhooks, memory: "http://" + admin + "/metrics", redis: server}
	}
	always, everySecond := on("always"), on("everysec")
	rates, times := map[string][]float64{}, map[string][]float64{}
	for round := range pick(s, 5, 2) {
		for _, d := range []*side{always, everySecond} {
			lasts := pick(s, 3*time.Second, time.Second)
			full := d.round(ctx, s, load{Connections: connections, Duration: lasts, First: 1})
			calm := d.round(ctx, s, load{Connections: connections, Duration: lasts, First: 1, Rate: 1000})
			if round > 0 { // the first warms up
				rates[d.name] = append(rates[d.name], full.PerSecond)
				times[d.name] = append(times[d.name], milliseconds(calm.P99))
			}
		}
	}
	of := func(values map[string][]float64) (always, everySecond float64) {
		return median(values["always"]), median(values["everysec"])
	}
	rate, rateSecond := of(rates)
	p99, p99Second := of(times)
	return []Row{
		{
			What: "webhooks a second with always against everysec, " + disk, Value: rate / rateSecond, Sense: AtLeast, Bound: 0.5,
			Note: fmt.Sprintf("%.0f/s against %.0f/s, %d connections", rate, rateSecond, connections),
		},
		{
			What: "99th percentile of acknowledgements at 1,000 a second with always, " + disk, Value: p99, Unit: "ms", Sense: AtMost, Bound: 250,
			Note: fmt.Sprintf("everysec: %.1f ms", p99Second),
		},
	}
}
