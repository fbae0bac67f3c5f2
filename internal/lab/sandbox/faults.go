package sandbox

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// FaultMode says how a call is spoilt.
type FaultMode string

// The fault modes. The first four act in place of the call, which then has no
// effect; the others let it take effect and lose the answer.
const (
	FaultStatus    FaultMode = "status"     // an error status
	FaultHang      FaultMode = "hang"       // no answer until the caller gives up
	FaultGarbage   FaultMode = "garbage"    // status 200 and a page of HTML
	FaultReset     FaultMode = "reset"      // the connection is closed without an answer
	FaultHangAfter FaultMode = "hang_after" // as hang, after the call took effect
	FaultHalf      FaultMode = "half"       // half the answer, then the connection is closed
	FaultLate      FaultMode = "late"       // as hang, and the call takes effect after the caller has given up
)

var faultModes = []FaultMode{FaultStatus, FaultHang, FaultGarbage, FaultReset, FaultHangAfter, FaultHalf, FaultLate}

// Fault spoils calls: the next Count ones, or all of the next For.
type Fault struct {
	Mode       FaultMode     // empty: FaultStatus
	Status     int           // of FaultStatus; 0 stands for 503
	RetryAfter time.Duration // of FaultStatus; 0: no such header
	After      time.Duration // of FaultLate: how long after the caller has given up
	Count      int           // calls to spoil; 0 with a For of 0 stands for 1
	For        time.Duration // how long to spoil calls; with a Count, whichever ends first
	Route      string        // the route to spoil, as named in the counts of calls; empty: every one
}

// check completes a fault, or says what is wrong with it.
func (f Fault) check(routes []string) (Fault, error) {
	if f.Mode == "" {
		f.Mode = FaultStatus
	}
	if f.Status == 0 {
		f.Status = http.StatusServiceUnavailable
	}
	if f.Count == 0 && f.For == 0 {
		f.Count = 1
	}
	switch {
	case !slices.Contains(faultModes, f.Mode):
		return f, fmt.Errorf("unknown fault mode %q, use one of %v", f.Mode, faultModes)
	case f.Status < 200 || f.Status > 599:
		return f, fmt.Errorf("a fault cannot answer with status %d, use 200 to 599", f.Status)
	case f.Count < 0 || f.For < 0 || f.RetryAfter < 0 || f.After < 0:
		return f, fmt.Errorf("a fault's count and durations cannot be negative")
	case f.Route != "" && !slices.Contains(routes, f.Route):
		return f, fmt.Errorf("unknown route %q, use one of %v", f.Route, routes)
	}
	return f, nil
}

// faults are the faults that wait for calls.
type faults struct {
	routes []string

	mu      sync.Mutex
	waiting []pendingFault
	spoilt  int64

	late      atomic.Int64  // calls of FaultLate under way
	closed    chan struct{} // ends hanging answers
	closeOnce sync.Once
}

type pendingFault struct {
	Fault
	until time.Time // zero: no end
}

func newFaults(routes ...string) *faults {
	return &faults{routes: routes, closed: make(chan struct{})}
}

func (f *faults) add(fault Fault) error {
	fault, err := fault.check(f.routes)
	if err != nil {
		return err
	}
	pending := pendingFault{Fault: fault}
	if fault.For > 0 {
		pending.until = time.Now().Add(fault.For)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = append(f.waiting, pending)
	return nil
}

func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = nil
}

func (f *faults) count() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.spoilt
}

func (f *faults) close() { f.closeOnce.Do(func() { close(f.closed) }) }

// take returns the fault that a call of a route meets, the oldest first.
func (f *faults) take(route string) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.waiting = slices.DeleteFunc(f.waiting, func(p pendingFault) bool { return !p.until.IsZero() && now.After(p.until) })
	for i := range f.waiting {
		p := &f.waiting[i]
		if p.Route != "" && p.Route != route {
			continue
		}
		fault := p.Fault
		if p.Count > 0 {
			if p.Count--; p.Count == 0 {
				f.waiting = slices.Delete(f.waiting, i, i+1)
			}
		}
		f.spoilt++
		return fault, true
	}
	return Fault{}, false
}

// perform answers a call of a route with what act returns, unless a fault
// spoils it. failed makes the answer of an error status.
func (f *faults) perform(w http.ResponseWriter, r *http.Request, route string, act func() answer, failed func(status int) answer) {
	fault, spoilt := f.take(route)
	if !spoilt {
		a := act()
		a.write(w, len(a.body))
		return
	}
	switch fault.Mode {
	case FaultHang:
		f.hang(r)
	case FaultHangAfter:
		act()
		f.hang(r)
	case FaultLate:
		f.late.Add(1)
		defer f.late.Add(-1)
		f.untilGivenUp(r)
		select {
		case <-time.After(fault.After):
			act()
		case <-f.closed:
		}
		panic(http.ErrAbortHandler)
	case FaultHalf:
		a := act()
		a.write(w, len(a.body)/2)
		// An answer that is small enough would otherwise never leave the buffer.
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // how net/http closes a connection under way
	case FaultReset:
		panic(http.ErrAbortHandler)
	case FaultGarbage:
		a := page(http.StatusOK, "<!doctype html><title>Maintenance</title><p>We will be back in a minute.")
		a.write(w, len(a.body))
	default:
		a := failed(fault.Status)
		if fault.RetryAfter > 0 {
			a = a.with("Retry-After", strconv.Itoa(int(math.Ceil(fault.RetryAfter.Seconds()))))
		}
		a.write(w, len(a.body))
	}
}

// hang ends the call when the caller has given up.
func (f *faults) hang(r *http.Request) {
	f.untilGivenUp(r)
	panic(http.ErrAbortHandler)
}

func (f *faults) untilGivenUp(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-f.closed:
	}
}

// control is POST /control/fail; DELETE takes all faults back.
func (f *faults) control(r *http.Request, body []byte) answer {
	if r.Method == http.MethodDelete {
		f.clear()
		return reply(http.StatusOK, map[string]bool{"ok": true})
	}
	var wanted struct {
		Mode       FaultMode `json:"mode"`
		Status     int       `json:"status"`
		RetryAfter float64   `json:"retry_after"`
		After      float64   `json:"after"`
		Count      int       `json:"count"`
		Seconds    float64   `json:"seconds"`
		Route      string    `json:"route"`
	}
	if err := decodeControl(body, &wanted); err != nil {
		return problem(http.StatusBadRequest, "%v", err)
	}
	if err := f.add(Fault{
		Mode: wanted.Mode, Status: wanted.Status, RetryAfter: seconds(wanted.RetryAfter), After: seconds(wanted.After),
		Count: wanted.Count, For: seconds(wanted.Seconds), Route: wanted.Route,
	}); err != nil {
		return problem(http.StatusBadRequest, "%v", err)
	}
	return reply(http.StatusOK, map[string]bool{"ok": true})
}
