package throttle

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// The states of a breaker, as in [Status].
const (
	Closed   = "closed"    // calls go through
	Open     = "open"      // nobody calls
	HalfOpen = "half_open" // one probe finds out whether the system is back
)

// breakerRules say when a breaker opens and how it closes.
type breakerRules struct {
	// Memory is how many calls the share of failed ones is taken over: each
	// call weighs 1/Memory, and earlier calls fade by as much.
	Memory float64
	// Share of failed calls that opens the breaker.
	Share float64
	// Fade is how long a failure takes to count half when no call follows.
	Fade time.Duration
	// First is the pause before the first probe; it doubles with every probe that
	// fails, up to Longest, give or take a quarter.
	First, Longest time.Duration
	// LongestAsked bounds what Retry-After may ask for.
	LongestAsked time.Duration
	// Ramp is how long after a probe's success passes are admitted bit by bit:
	// RampStart at once, twice as many in all after each Ramp/15.
	Ramp      time.Duration
	RampStart float64
	// Probe is when a probe that reported nothing is given up.
	Probe time.Duration
	// Hold is how long the right to probe outlives a process that was killed or
	// stands still: a living one renews it all the time.
	Hold time.Duration
}

func rulesOver(calls float64) breakerRules {
	return breakerRules{
		Memory: calls, Share: 0.5, Fade: 2 * time.Minute,
		First: 5 * time.Second, Longest: 30 * time.Second, LongestAsked: 15 * time.Minute,
		Ramp: 30 * time.Second, RampStart: 2,
		Probe: 45 * time.Second, Hold: 6 * time.Second,
	}
}

// Breaker keeps all replicas from calling a system that is away. One record in
// Redis decides for all, so that ten replicas press a system that is down with
// one probe at a time, not with ten.
//
// It is closed while calls succeed. It opens when about half of the last ten
// calls of all replicas failed, or when the system asks to be left alone
// (Retry-After). Then no pass begins and calls of passes under way are refused,
// until a pause is over; the next pass is the probe. If the system answers it,
// the breaker closes and lets passes begin bit by bit: twice as many every two
// seconds. If not, it opens for twice as long.
//
// A failure is an outage: no connection, no answer in time, 5xx, a login that
// is refused. An answer about one contact is no failure, since the system did
// answer.
//
// Without Redis passes are refused; calls under way go by what was last known.
type Breaker struct {
	rdb    redis.UniversalClient
	system string
	key    string
	rules  breakerRules

	turn chan struct{} // held by the one goroutine that talks to Redis

	mu     sync.Mutex
	good   int           // outcomes that Redis does not know yet
	bad    int           //
	asked  time.Duration // the longest Retry-After among them
	reason string        // of the last failure among them
	copied copied
	probe  string // the token of this process's probe
}

// copied is what Redis said last.
type copied struct {
	at      time.Time
	state   string
	wait    time.Duration // until the next probe
	ramping bool          // passes are counted
	prober  string
}

// NewBreaker returns the breaker between the passes of a site and a system, which
// [Statuses] calls "crm" or "site". It opens by the share of failed calls among
// about the last memory calls. All replicas should set the same number.
func NewBreaker(rdb redis.UniversalClient, system, site string, calls float64) *Breaker {
	return &Breaker{
		rdb: rdb, system: system, key: breakerKey(system, site), rules: rulesOver(calls),
		turn: make(chan struct{}, 1), copied: copied{state: Closed},
	}
}

// Allow says whether a call may be made by a pass under way: nil, or an
// [*Unavailable] while the breaker is open. It rarely asks Redis.
func (b *Breaker) Allow(ctx context.Context) error {
	// Without Redis the call goes by what was known: its pass was admitted.
	_ = b.refresh(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.copied.state == Closed || b.copied.state == HalfOpen && b.probe != "" && b.probe == b.copied.prober {
		return nil
	}
	return &Unavailable{Attempt: "calling the " + b.system, RetryAfter: max(b.copied.wait-time.Since(b.copied.at), 0), Err: errOpen}
}

// Succeeded reports a call that the system answered, whatever it answered.
func (b *Breaker) Succeeded(ctx context.Context) {
	b.mu.Lock()
	b.good++
	known := b.copied.state == Closed && time.Since(b.copied.at) < copyLife
	b.mu.Unlock()
	if !known {
		_ = b.exchange(ctx)
	}
}

// Failed reports a call that met an outage. asked is how long the system asked
// to be left alone, zero if it did not: the breaker opens at once for that
// time. weight is how many failures it counts as: a call that timed out tells
// more than a refused connection. reason is shown to operators.
func (b *Breaker) Failed(ctx context.Context, weight int, asked time.Duration, reason string) {
	b.mu.Lock()
	b.bad += max(weight, 1)
	b.asked = max(b.asked, min(asked, b.rules.LongestAsked))
	b.reason = reason
	b.mu.Unlock()
	_ = b.exchange(ctx)
}

// begin asks whether a pass may begin. If so, end must be called after it.
// Otherwise wait says when to ask again.
func (b *Breaker) begin(ctx context.Context) (end func(), wait time.Duration, err error) {
	if err := b.refresh(ctx); err != nil {
		return nil, 0, &Unavailable{Attempt: "asking whether the " + b.system + " may be called", Err: err}
	}
	b.mu.Lock()
	now := b.copied
	b.mu.Unlock()
	if now.state == Closed && !now.ramping {
		return func() {}, 0, nil
	}
	if left := now.wait - time.Since(now.at); now.state == Open && left > 0 {
		return nil, left, nil
	}
	return b.ask(ctx)
}

// openFor returns how long the breaker stays open, as far as is known.
func (b *Breaker) openFor() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.copied.state != Open {
		return 0
	}
	return max(b.copied.wait-time.Since(b.copied.at), 0)
}

var errOpen = errors.New("its circuit breaker is open, since it was away a moment ago")

// refresh brings the copy up to date if it is old.
func (b *Breaker) refresh(ctx context.Context) error {
	b.mu.Lock()
	fresh := time.Since(b.copied.at) < copyLife
	b.mu.Unlock()
	if fresh {
		return nil
	}
	return b.exchange(ctx)
}

// exchange tells Redis the outcomes and learns the state. One goroutine of a
// process does it at a time; the others find that theirs are told.
func (b *Breaker) exchange(ctx context.Context) error {
	// A call whose context has ended still reports its outcome.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTimeout)
	defer cancel()
	asked := time.Now()
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	b.mu.Lock()
	good, bad, after, reason, probe := b.good, b.bad, b.asked, b.reason, b.probe
	if good == 0 && bad == 0 && b.copied.at.After(asked) {
		b.mu.Unlock()
		return nil
	}
	b.good, b.bad, b.asked = 0, 0, 0
	b.mu.Unlock()

	answer, err := reportScript.Run(ctx, b.rdb, []string{b.key}, b.arguments(
		good, bad, after.Milliseconds(), reason, fmt.Sprintf("%.4f", jitter(time.Second).Seconds()), probe)...).Slice()
	if err == nil {
		err = b.copy(answer)
	}
	if err != nil {
		b.mu.Lock()
		b.good, b.bad, b.asked = b.good+good, b.bad+bad, max(b.asked, after)
		b.mu.Unlock()
	}
	return err
}

// ask asks Redis for a pass while the breaker is not simply closed.
func (b *Breaker) ask(ctx context.Context) (end func(), wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	token := rand.Text()
	answer, err := beginScript.Run(ctx, b.rdb, []string{b.key}, b.arguments(token, b.rules.Hold.Milliseconds())...).Slice()
	if err == nil && len(answer) != 6 {
		err = errBreakerAnswer
	}
	if err == nil {
		err = b.copy(answer[2:])
	}
	if err != nil {
		return nil, 0, &Unavailable{Attempt: "asking whether the " + b.system + " may be called", Err: err}
	}
	verdict, _ := answer[0].(int64)
	left, _ := answer[1].(int64)
	switch verdict {
	case 1:
		return func() {}, 0, nil
	case 2:
		b.mu.Lock()
		b.probe = token
		b.mu.Unlock()
		ended := b.keepProbe(ctx, token)
		return func() { ended(); b.endProbe(ctx, token) }, 0, nil
	default:
		return nil, max(time.Duration(left)*time.Millisecond, time.Millisecond), nil
	}
}

// keepProbe takes the right to probe anew until ended is called or the probe's
// time is over.
func (b *Breaker) keepProbe(ctx context.Context, token string) (ended context.CancelFunc) {
	ctx, ended = context.WithTimeout(context.WithoutCancel(ctx), b.rules.Probe)
	go func() {
		beat := time.NewTicker(b.rules.Hold / 3)
		defer beat.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-beat.C:
			}
			// If it fails, the next one may not, or another process probes.
			kept, err := keepProbeScript.Run(ctx, b.rdb, []string{b.key}, token, b.rules.Hold.Milliseconds()).Int()
			if err == nil && kept == 0 {
				return // it has reported, or lost the right
			}
		}
	}()
	return ended
}

// endProbe gives the right to probe back. A probe that reported something gave
// it back by that.
func (b *Breaker) endProbe(ctx context.Context, token string) {
	b.mu.Lock()
	ours := b.probe == token
	if ours {
		b.probe = ""
	}
	b.mu.Unlock()
	if !ours {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTimeout)
	defer cancel()
	// If it fails, the probe's time ends.
	_ = endProbeScript.Run(ctx, b.rdb, []string{b.key}, token).Err()
}

var errBreakerAnswer = errors.New("the breaker's script answered with something unexpected")

// copy keeps what the scripts say of the state.
func (b *Breaker) copy(answer []any) error {
	if len(answer) != 4 {
		return errBreakerAnswer
	}
	state, _ := answer[0].(string)
	wait, _ := answer[1].(int64)
	ramping, _ := answer[2].(int64)
	prober, _ := answer[3].(string)
	if state != Closed && state != Open && state != HalfOpen {
		return errBreakerAnswer
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.copied = copied{
		at: time.Now(), state: state, wait: time.Duration(wait) * time.Millisecond, ramping: ramping == 1, prober: prober,
	}
	return nil
}
