package pulse_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/pulse"
)

// ledger is a budget that counts.
type ledger struct {
	mu      sync.Mutex
	waits   int
	limited []time.Duration
	err     error
}

func (l *ledger) Wait(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits++
	return l.err
}

func (l *ledger) Limited(_ context.Context, retryAfter time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limited = append(l.limited, retryAfter)
}

func TestTheBudgetIsAskedForEachCallAndToldOfEach429(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	budget := &ledger{}
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) < 3 {
			says(200, `{"data":[],"meta":{"last_page":3}}`)(w, r)
			return
		}
		says(429, "", "Retry-After", "11")(w, r)
	}, func(o *pulse.Options) { o.Budget = budget })
	_, err := client.Tags(t.Context(), "7")
	requireOutageFor(t, 11*time.Second, err)
	require.True(t, contact.IsHeld(err), "a 429 is none of the contact's failures")
	const tries = 8
	require.Equal(t, 2+tries, budget.waits)
	require.Equal(t, slices.Repeat([]time.Duration{11 * time.Second}, tries), budget.limited)

	budget.err = errors.New("the budget is closed")
	_, err = client.Tags(t.Context(), "7")
	require.ErrorIs(t, err, budget.err)
	require.Equal(t, int32(2+tries), calls.Load(), "no call without a budget")
}

func TestACallThatMet429IsMadeAgainInItsTurn(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	budget := &ledger{}
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			says(429, "")(w, r)
			return
		}
		says(200, `{"id":7}`)(w, r)
	}, func(o *pulse.Options) { o.Budget = budget })
	_, err := client.Contact(t.Context(), "7")
	require.NoError(t, err)
	require.Equal(t, 2, budget.waits)
	require.Len(t, budget.limited, 1)
}

func TestThereIsRoomWhileHardlyAnyCallWaitsForAnother(t *testing.T) {
	t.Parallel()
	proceed := make(chan struct{})
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		<-proceed
		says(200, `{"id":7}`)(w, r)
	}, func(o *pulse.Options) { o.Concurrency = 4 })
	require.True(t, client.Room())
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() { _, _ = client.Contact(t.Context(), "7") })
	}
	require.Eventually(t, func() bool { return !client.Room() }, 10*time.Second, time.Millisecond, "four calls wait for four")
	close(proceed)
	group.Wait()
	require.True(t, client.Room())
}

func TestNoMoreCallsAtOnceThanAllowed(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int32
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		now := running.Add(1)
		defer running.Add(-1)
		for before := most.Load(); now > before && !most.CompareAndSwap(before, now); before = most.Load() {
		}
		says(200, `{"id":7}`)(w, r)
	}, func(o *pulse.Options) { o.Concurrency = 2 })
	var group sync.WaitGroup
	for range 40 {
		group.Go(func() {
			if _, err := client.Contact(t.Context(), "7"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	require.LessOrEqual(t, most.Load(), int32(2))
}

func TestWhoWaitsForATurnMayGiveUp(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		says(200, `{"id":7}`)(w, r)
	}, func(o *pulse.Options) { o.Concurrency = 1 })
	var group sync.WaitGroup
	group.Go(func() { _, _ = client.Contact(t.Context(), "7") })
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := client.Contact(ctx, "7")
	requireOutage(t, err)
	close(leave)
	group.Wait()
}

func TestRedirectsDoNotCarryTheTokenAway(t *testing.T) {
	t.Parallel()
	var strays atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strays.Add(1) }))
	t.Cleanup(elsewhere.Close)
	own := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}, func(o *pulse.Options) { o.HTTP = own })
	_, err := client.Contact(t.Context(), "7")
	require.ErrorContains(t, err, elsewhere.URL+": set SPILLWAY_CRM_URL")
	requireOutage(t, err)
	require.Zero(t, strays.Load())
	require.NoError(t, own.CheckRedirect(nil, nil), "the caller's client is left alone")
}

// relay gives tokens one after the other.
type relay struct {
	mu     sync.Mutex
	tokens []string
}

func (r *relay) Token(context.Context) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tokens[0], nil
}

func (r *relay) Renew(_ context.Context, old string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tokens[0] == old {
		r.tokens = r.tokens[1:]
	}
	return r.tokens[0], nil
}

func TestAnExpiredTokenIsRenewedWithinTheCall(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 200} { // some servers say it with 200
		var seen []int
		client := setup(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.Header.Get("Authorization") != "Bearer new" || string(body) != "pass=word" {
				says(status, `{"message":"Unauthenticated."}`)(w, r)
				return
			}
			says(200, `{"message":"Saved"}`)(w, r)
		}, func(o *pulse.Options) {
			o.Tokens = &relay{tokens: []string{"old", "new"}}
			o.Observe = func(c pulse.Call) {
				require.Equal(t, "update", c.Route)
				require.Positive(t, c.Duration)
				seen = append(seen, c.Status)
			}
		})
		require.NoError(t, client.Update(t.Context(), "7", map[string]string{"pass": "word"}))
		require.Equal(t, []int{status, 200}, seen)
	}
}

// line is a budget in which tokens grow old.
type line func()

func (l line) Wait(context.Context) error {
	l()
	return nil
}

func (line) Limited(context.Context, time.Duration) {}

func TestTheTokenIsTakenAfterTheWaitForTheBudget(t *testing.T) {
	t.Parallel()
	var refused atomic.Int32
	tokens := &relay{tokens: []string{"old", "new"}}
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer new" {
			refused.Add(1)
			says(401, "")(w, r)
			return
		}
		says(200, `{"id":7}`)(w, r)
	}, func(o *pulse.Options) {
		o.Tokens = tokens
		o.Budget = line(func() { _, _ = tokens.Renew(t.Context(), "old") })
	})
	_, err := client.Contact(t.Context(), "7")
	require.NoError(t, err)
	require.Zero(t, refused.Load())
}

func TestATokenThatIsAlwaysRefusedEndsTheCall(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	client := setup(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		says(401, "")(w, r)
	}, func(o *pulse.Options) { o.Tokens = &relay{tokens: []string{"a", "b", "c", "d", "e"}} })
	_, err := client.Contact(t.Context(), "7")
	requireOutageFor(t, time.Minute, err)
	require.Equal(t, int32(3), calls.Load())
}
