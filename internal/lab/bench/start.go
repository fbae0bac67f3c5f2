package bench

import (
	"context"
	"debug/elf"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/redistest"
	"spillway/internal/lab/sandbox"
)

// startRows measure how soon ingest listens, what the programs link, and the
// memory of ingest in a burst and of a worker with all its passes under way.
func startRows(ctx context.Context, s *stage) []Row {
	server := redistest.Start(s, everySecond()...)
	return []Row{
		s.listening(ctx, server),
		s.static(),
		s.ingestMemory(ctx, server),
		s.workerMemory(ctx),
	}
}

func (s *stage) listening(ctx context.Context, server *redistest.Server) Row {
	var took []float64
	for range pick(s, 11, 5) {
		webhooks := s.freeAddr()
		began := time.Now()
		p := s.launch("ingest", filepath.Join(s.bin, "ingest"), map[string]string{
			"SPILLWAY_REDIS_URL": server.URL(), "SPILLWAY_ACCESS_KEYS": accessKey,
			"SPILLWAY_INGEST_ADDR": webhooks, "SPILLWAY_ADMIN_ADDR": s.freeAddr(),
		})
		s.eventually(ctx, 30*time.Second, 500*time.Microsecond, "ingest does not listen", func() bool {
			connection, err := net.DialTimeout("tcp", webhooks, time.Second)
			if err != nil {
				return false
			}
			took = append(took, milliseconds(time.Since(began)))
			return connection.Close() == nil
		})
		p.stop()
	}
	return Row{What: "ingest listens after its start", Value: median(took), Unit: "ms", Sense: AtMost, Bound: 100, Note: fmt.Sprintf("median of %d starts", len(took))}
}

// static counts the programs that need a loader.
func (s *stage) static() Row {
	needy := 0
	for _, name := range []string{"ingest", "worker", "spillway"} {
		file, err := elf.Open(filepath.Join(s.bin, name))
		require.NoError(s, err)
		defer file.Close()
		for _, segment := range file.Progs {
			if segment.Type == elf.PT_DYNAMIC || segment.Type == elf.PT_INTERP {
				needy++
				break
			}
		}
	}
	return Row{What: "programs with a dynamic section, of three", Value: float64(needy), Unit: "programs", Sense: AtMost, Bound: 0}
}

func (s *stage) ingestMemory(ctx context.Context, server *redistest.Server) Row {
	p, webhooks, _ := s.ingest(ctx, server.URL(), nil)
	defer p.stop()
	idle := memoryOf(p.pid(), "VmRSS")
	s.send(ctx, load{Addr: webhooks, Connections: connections, Duration: pick(s, 8*time.Second, 2*time.Second), First: 1})
	return Row{
		What: "memory of ingest, the most during a burst", Value: memoryOf(p.pid(), "VmHWM"), Unit: "MB",
		Note: fmt.Sprintf("%d connections; %.0f MB at rest before it", connections, idle),
	}
}

// workerMemory holds 64 passes in the CRM's answer at once.
func (s *stage) workerMemory(ctx context.Context) Row {
	const passes = 64
	// A new site gets two batches of 16 at first, and no
	// more passes than that begin: it shows what it can before.
	const before = 300
	server := redistest.Start(s, everySecond()...)
	stand := s.startCRM(sandbox.CRMOptions{}, before+passes)
	site, siteURL := s.startSite(sandbox.SiteOptions{})
	contacts, _ := s.contacts(server.Addr)
	p := s.worker(ctx, standInTarget(server.URL(), stand.url, siteURL, site), map[string]string{
		"SPILLWAY_CRM_RATE": "1000", "SPILLWAY_CRM_CONCURRENCY": "128",
	})
	defer p.stop()
	idle := memoryOf(p.pid(), "VmRSS")
	s.submit(ctx, contacts, 1, before)
	s.drained(ctx, contacts, time.Minute)
	stand.SetLatency(3 * time.Second)
	s.submit(ctx, contacts, before+1, passes)
	s.eventually(ctx, time.Minute, 10*time.Millisecond, "64 passes under way", func() bool { return s.stats(ctx, contacts).Active == passes })
	return Row{
		What: "memory of a worker with 64 passes under way", Value: memoryOf(p.pid(), "VmRSS"), Unit: "MB",
		Note: fmt.Sprintf("%.0f MB at rest, before it had any", idle),
	}
}
