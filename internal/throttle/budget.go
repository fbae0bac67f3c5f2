package throttle

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// copyLife is how long a replica uses its copy of the shared state.
	copyLife = 100 * time.Millisecond
	// climbTime is how long the rate takes to come close to the one that met a
	// 429. It takes up to as long again to come to it.
	climbTime = 20 * time.Second
	// lowestRate is the rate below which no 429 pushes: twelve calls a minute.
	// A pass of three calls could not end in its time at a much lower one.
	lowestRate = 0.2
	// shortHold is how long a 429 without a time holds everyone back.
	shortHold = time.Second
	// worthWaiting is the longest hold that Wait sits out. A pass that waited
	// longer would keep its contact and its place for nothing.
	worthWaiting = 15 * time.Second
	// longestHold bounds what one answer can close.
	longestHold = time.Hour
	// startWithin is how soon a pass that begins must have its first call. Its
	// other calls come into the same line behind at most as much, so a pass
	// has its calls within a few times of this. It is long enough for calls to
	// wait in line all the time while contacts do.
	startWithin = 2 * time.Second
)

var (
	errHeld = errors.New("the other side asked all callers to wait")
	errLine = errors.New("more calls wait than can be made in the time that is left")
)

// Budget is a number of calls per second that all replicas share.
//
// Calls stand in one line, over all replicas, in the order in which they came:
// each is told its turn when it comes, and a call whose turn would come too
// late for its caller is refused at once and takes none. [Budget.Begin] is for
// callers that have not begun the work that needs the calls.
//
// If the other side's limit is lower than the setting, the budget finds that
// limit and keeps to it. A 429 at a rate of r holds everybody back, and all
// turns given before are void; after that calls come one by one, at a rate of,
// with t the time since then in which calls were made,
//
//	r * (0.97 + (d - 0.03) * (t/20s - 1)^3)
//
// but never above the setting, and never below twelve a minute unless the
// setting is. The drop d is a tenth when the limit is known: 0.9 r at first,
// 0.96 r after 10 s, flat about 0.97 r at 20 s, r again at 35 s, 1.1 r at 45 s.
// So most of the time is spent just below what is allowed, a higher limit is
// found soon, and in a time without calls nothing is forgotten. (The curve is
// that of TCP CUBIC.) Below two calls a second the climb takes longer, up to
// twice as long: there each 429 costs more of the calls. A 429 within 5 s after
// such a one makes it a quarter, since a call that came a little early can meet
// the limit as well. At the first 429, and at further ones within 5 s, little is
// known of the limit, and the drop is a half.
//
// In Redis, at KEY, stands a hash; budget_scripts.go names its fields.
type Budget struct {
	rdb       redis.UniversalClient
	key       string
	perSecond float64
	burst     int
	climb     time.Duration

	reading sync.Mutex // held by the one goroutine that brings the copy up to date

	mu     sync.Mutex
	voided int64     // how often turns were made void, as far as is known
	readAt time.Time // when that was read
	until  time.Time // nobody calls before
}

// NewBudget returns the budget named key: perSecond calls per second, at least
// 0.001, fractions allowed (0.5 is a call every two seconds), and burst calls at
// once after a time of rest. A burst of 0 stands for a quarter of a second's
// calls, at least one. All replicas should have the same settings.
func NewBudget(rdb redis.UniversalClient, key string, perSecond float64, burst int) (*Budget, error) {
	const least = 0.001
	if math.IsNaN(perSecond) || math.IsInf(perSecond, 0) || perSecond < least {
		return nil, fmt.Errorf("a rate of %v calls per second: use a number from %v on", perSecond, least)
	}
	if burst < 0 {
		return nil, fmt.Errorf("a burst of %d calls: use 0 or more", burst)
	}
	if burst == 0 {
		burst = max(1, int(perSecond/4))
	}
	return &Budget{rdb: rdb, key: key, perSecond: perSecond, burst: burst, climb: climbTime}, nil
}

// Wait returns when a call may be made. Callers are served in the order in which
// they came, over all replicas. The error is an [*Unavailable]: ctx ended, Redis
// is away, the line is longer than seven eighths of the time that ctx leaves, or
// everyone is held back for more than 15 seconds. The last two are told at once
// and are [contact.Held].
func (b *Budget) Wait(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return b.unavailable(err)
		}
		if hold := b.held(); hold > min(worthWaiting, patienceOf(ctx)) {
			return b.full(errHeld, hold)
		}
		turn, err := b.ask(ctx, takeScript, patienceOf(ctx).Milliseconds(), worthWaiting.Milliseconds())
		switch {
		case err != nil:
			return b.unavailable(err)
		case !turn.granted && turn.hold > 0:
			return b.full(errHeld, turn.hold)
		case !turn.granted:
			return b.full(errLine, turn.wait)
		}
		valid, err := b.sitOut(ctx, turn)
		if err != nil {
			return b.unavailable(err)
		}
		if valid {
			return nil
		}
	}
}

// patienceOf returns how long a call may wait for its turn. The caller needs
// the rest for the call itself and for what follows.
func patienceOf(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return math.MaxInt32 * time.Millisecond
	}
	return max(time.Until(deadline)*7/8, 0)
}

// sitOut waits for a turn. valid is false if the turn became void meanwhile.
func (b *Budget) sitOut(ctx context.Context, t turn) (valid bool, err error) {
	if t.wait == 0 {
		return true, nil
	}
	for due := time.Now().Add(t.wait); ; {
		left := time.Until(due)
		if err := pause(ctx, min(left, copyLife), nil); err != nil {
			return false, err
		}
		last := left <= copyLife
		if !last {
			// If it fails, the turn goes by what is known. At the turn itself nobody
			// is asked: a call that waits for Redis then comes too close to the next.
			_ = b.refresh(ctx)
		}
		b.mu.Lock()
		valid := b.voided == t.voided
		b.mu.Unlock()
		if !valid || last {
			return valid, nil
		}
	}
}

// Begin asks whether something that needs calls may begin: it may when its
// first call would have its turn within two seconds. No turn is taken; but no
// more begin at about the same time than there are calls for. Otherwise wait
// says when to ask again. The error is an [*Unavailable]: Redis is away.
func (b *Budget) Begin(ctx context.Context) (ok bool, wait time.Duration, err error) {
	if hold := b.held(); hold > startWithin {
		return false, hold - startWithin, nil
	}
	turn, err := b.ask(ctx, beginCallsScript, startWithin.Milliseconds())
	if err != nil {
		return false, 0, b.unavailable(err)
	}
	return turn.granted, turn.wait, nil
}

// Limited reports a 429. All replicas stop calling for retryAfter (a second if it
// is zero, an hour at most). Afterwards they call at a lower rate, which climbs as
// [Budget] says. Further reports during the pause belong to the same overload:
// they lengthen the pause, but do not lower the rate again. While Redis is away,
// only this process pauses.
func (b *Budget) Limited(ctx context.Context, retryAfter time.Duration) {
	if retryAfter <= 0 {
		retryAfter = shortHold
	}
	hold := min(retryAfter, longestHold)
	b.remember(shared{hold: hold, voided: -1})

	// The call that met the 429 may be at its end; the others must know of it.
	_, _ = b.ask(context.WithoutCancel(ctx), limitedScript, hold.Milliseconds())
}

// Rate returns the rate in calls per second that all replicas keep to at
// present, and how long all calls are held back.
func (b *Budget) Rate(ctx context.Context) (perSecond float64, hold time.Duration, err error) {
	now, err := b.ask(ctx, rateScript)
	if err != nil {
		return 0, 0, &Unavailable{Attempt: "reading the rate of " + b.key, Err: err}
	}
	return now.rate, now.hold, nil
}

// refresh brings the copy up to date if it is old.
func (b *Budget) refresh(ctx context.Context) error {
	b.reading.Lock()
	defer b.reading.Unlock()
	b.mu.Lock()
	fresh := time.Since(b.readAt) < copyLife
	b.mu.Unlock()
	if fresh {
		return nil
	}
	_, err := b.ask(ctx, rateScript)
	return err
}

// held returns how long all calls are held back, as far as is known.
func (b *Budget) held() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Until(b.until)
}

// remember keeps a copy of what is shared. A hold is never shortened: an answer
// may be older than a 429 that was met while it was on its way. A void turn is
// noticed with the next one, a tenth of a second later.
func (b *Budget) remember(now shared) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.voided >= 0 {
		b.voided, b.readAt = now.voided, time.Now()
	}
	if until := time.Now().Add(now.hold); now.hold > 0 && until.After(b.until) {
		b.until = until
	}
}

func (b *Budget) unavailable(err error) error {
	return &Unavailable{Attempt: "waiting for a call's turn in the budget " + b.key, Err: err}
}

// full is the error of a call for which the limit has no room in time.
func (b *Budget) full(err error, retryAfter time.Duration) error {
	return &Unavailable{Attempt: "waiting for a call's turn in the budget " + b.key, RetryAfter: retryAfter, Err: err, held: true}
}
