package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// load is what the generator is asked to send: webhooks over connections that
// stay open, each answered before the next is sent on it.
type load struct {
	Addr        string        `json:"addr"`
	Connections int           `json:"connections"`
	Duration    time.Duration `json:"duration"`
	// Count ends the load earlier; 0: the duration does.
	Count int64 `json:"count"`
	// Rate is how many are sent per second, at times fixed beforehand: one that
	// is late because the server was counts from when it was due. 0: as fast as
	// they are answered.
	Rate float64 `json:"rate"`
	// The contacts First, First+1, … each once; with Spread, any of the Spread
	// contacts from First on, at random; with Cycle, the Cycle contacts from
	// First on, over and over.
	First  int64 `json:"first"`
	Spread int64 `json:"spread"`
	Cycle  int64 `json:"cycle"`
	// Action is empty for update.
	Action string `json:"action"`
}

// loaded is what the generator saw.
type loaded struct {
	Accepted  int64         `json:"accepted"` // answered 2xx
	Refused   int64         `json:"refused"`  // answered otherwise, or not at all
	Seconds   float64       `json:"seconds"`
	PerSecond float64       `json:"per_second"`
	P50       time.Duration `json:"p50"`
	P99       time.Duration `json:"p99"`
	Max       time.Duration `json:"max"`
	// CPU is the processor time of the generator, in seconds per second.
	CPU     float64 `json:"cpu"`
	Problem string  `json:"problem"`
}

// generate is the load generator: it reads a load from in and writes what it
// saw to out.
func generate(ctx context.Context, in io.Reader, out io.Writer) error {
	var l load
	if err := json.NewDecoder(in).Decode(&l); err != nil {
		return fmt.Errorf("reading the load: %w", err)
	}
	g := &generator{load: l}
	seen, err := g.run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(seen)
}

type generator struct {
	load
	next atomic.Int64
}

// tally is what one connection saw; each has its own, so that counting costs
// no lock.
type tally struct {
	times    []time.Duration
	accepted int64
	refused  int64
	problem  string
}

func (g *generator) run(ctx context.Context) (loaded, error) {
	connections := make([]net.Conn, g.Connections)
	for i := range connections {
		dialer := net.Dialer{Timeout: 5 * time.Second}
		connection, err := dialer.DialContext(ctx, "tcp", g.Addr)
		if err != nil {
			return loaded{}, fmt.Errorf("connecting: %w", err)
		}
		defer connection.Close()
		connections[i] = connection
	}
	tallies := make([]tally, len(connections))
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	began := time.Now()
	var senders sync.WaitGroup
	for i := range connections {
		tallies[i].times = make([]time.Duration, 0, 4096)
		senders.Go(func() { g.send(ctx, connections[i], began, &tallies[i]) })
	}
	senders.Wait()
	took := time.Since(began)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	return sum(tallies, took, used(after)-used(before)), nil
}

func used(r syscall.Rusage) time.Duration {
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// send sends on one connection until the load ends or the connection fails.
func (g *generator) send(ctx context.Context, connection net.Conn, began time.Time, t *tally) {
	reader := bufio.NewReaderSize(connection, 4096)
	request := make([]byte, 0, 256)
	end := began.Add(g.Duration)
	_ = connection.SetDeadline(end.Add(30 * time.Second))
	for ctx.Err() == nil {
		n := g.next.Add(1) - 1
		due := time.Now()
		if g.Rate > 0 {
			due = began.Add(time.Duration(float64(n) / g.Rate * float64(time.Second)))
			if wait := time.Until(due); wait > 0 && !due.After(end) {
				time.Sleep(wait)
			}
		}
		if !due.Before(end) || g.Count > 0 && n >= g.Count {
			return
		}
		request = g.request(request[:0], n)
		_, err := connection.Write(request)
		status := 0
		if err == nil {
			status, err = readAnswer(reader)
		}
		if err != nil {
			t.refused++
			t.problem = "no answer: " + err.Error()
			return
		}
		t.times = append(t.times, time.Since(due))
		if status/100 == 2 {
			t.accepted++
		} else {
			t.refused++
			t.problem = "answered with status " + strconv.Itoa(status)
		}
	}
}

// request writes the nth webhook.
func (g *generator) request(b []byte, n int64) []byte {
	id := g.First + n
	switch {
	case g.Spread > 0:
		id = g.First + rand.Int64N(g.Spread)
	case g.Cycle > 0:
		id = g.First + n%g.Cycle
	}
	action := g.Action
	if action == "" {
		action = "update"
	}
	b = append(b, "GET /?wpf_action="...)
	b = append(b, action...)
	b = append(b, "&access_key="+accessKey+"&contact_id="...)
	b = strconv.AppendInt(b, id, 10)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, g.Addr...)
	return append(b, "\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"...)
}

// readAnswer reads an answer that states its length.
func readAnswer(r *bufio.Reader) (status int, err error) {
	length := -1
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case first:
			if len(line) < 12 {
				return 0, fmt.Errorf("no status line: %.40q", line)
			}
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, fmt.Errorf("no status line: %.40q", line)
			}
		case len(line) == 0:
			if length < 0 {
				return 0, fmt.Errorf("an answer with status %d without a length", status)
			}
			_, err := r.Discard(length)
			return status, err
		case len(line) > 16 && (line[0] == 'C' || line[0] == 'c') && bytes.EqualFold(line[:15], []byte("Content-Length:")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[15:]))); err != nil {
				return 0, fmt.Errorf("an answer's length is %.40q", line)
			}
		}
	}
}

func sum(tallies []tally, took, busy time.Duration) loaded {
	l := loaded{Seconds: took.Seconds(), CPU: busy.Seconds() / took.Seconds()}
	var times []time.Duration
	for _, t := range tallies {
		l.Accepted += t.accepted
		l.Refused += t.refused
		times = append(times, t.times...)
		if t.problem != "" {
			l.Problem = t.problem
		}
	}
	l.PerSecond = float64(l.Accepted) / took.Seconds()
	slices.Sort(times)
	l.P50, l.P99, l.Max = quantile(times, 0.5), quantile(times, 0.99), quantile(times, 1)
	return l
}

// quantile is that of a sorted list; of an empty one 0.
func quantile[T any](sorted []T, q float64) T {
	var none T
	if len(sorted) == 0 {
		return none
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// median of a list that need not be sorted.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n > 0 && n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return quantile(sorted, 0.5)
}
