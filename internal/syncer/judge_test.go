package syncer_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/relay"
	"spillway/internal/syncer"
)

type outage time.Duration

func (outage) Error() string           { return "away" }
func (o outage) Outage() time.Duration { return time.Duration(o) }

type refusal string

func (refusal) Error() string     { return "refused" }
func (r refusal) Refusal() string { return string(r) }

type suspicion struct{}

func (suspicion) Error() string   { return "died" }
func (suspicion) Refusal() string { return "site_fatal" }
func (suspicion) Confirmed() int  { return 3 }

func TestJudgeTellsPassingErrorsFromPermanentOnes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		err      error
		attempts int
		verdict  syncer.Verdict
		code     string
	}{
		{"an outage waits", outage(0), 0, syncer.Wait, "outage"},
		{"an outage waits whatever the attempts", outage(0), 100, syncer.Wait, "outage"},
		{"an outage on the way to a refusal waits", errors.Join(refusal("x"), outage(0)), 0, syncer.Wait, "outage"},
		{"a wrapped outage waits", fmt.Errorf("reading: %w", outage(0)), 0, syncer.Wait, "outage"},
		{"a pass without time left waits", fmt.Errorf("reading: %w", context.DeadlineExceeded), 50, syncer.Wait, "out_of_time"},
		{"a newer pass on the site is waited for", fmt.Errorf("storing: %w", contact.ErrSuperseded), 50, syncer.Wait, "superseded"},
		{"a refusal parks", fmt.Errorf("storing: %w", refusal("no_email")), 0, syncer.Park, "no_email"},
		{"a suspicion is tried again", fmt.Errorf("storing: %w", suspicion{}), 1, syncer.TryAgain, "site_fatal"},
		{"a suspicion that repeated itself parks", fmt.Errorf("storing: %w", suspicion{}), 2, syncer.Park, "site_fatal"},
		{"anything else is tried again", errors.New("x"), 0, syncer.TryAgain, "failed"},
		{"the last attempt parks", errors.New("x"), syncer.MaxAttempts - 1, syncer.Park, "too_many_attempts"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			judgement := syncer.Judge(test.err, test.attempts)
			require.Equal(t, test.verdict, judgement.Verdict)
			require.Equal(t, test.code, judgement.Code)
		})
	}
}

func TestAFailureThatCannotMendForAWhileIsTriedAgainAfterIt(t *testing.T) {
	t.Parallel()
	judgement := syncer.Judge(fmt.Errorf("storing: %w", &relay.Failed{After: time.Minute}), 0)
	require.Equal(t, syncer.Judgement{Verdict: syncer.TryAgain, Code: "failed", After: time.Minute}, judgement)
	require.GreaterOrEqual(t, judgement.Delay(0, 0), time.Minute)
	judgement = syncer.Judge(fmt.Errorf("storing: %w", &contact.Busy{Again: time.Minute}), 100)
	require.Equal(t, syncer.Judgement{Verdict: syncer.Wait, Code: "site_busy", After: time.Minute}, judgement)
}

func TestDelayDoublesWithinBoundsAndObeysTheSystem(t *testing.T) {
	t.Parallel()
	again := syncer.Judge(errors.New("x"), 0)
	wait := syncer.Judge(outage(0), 0)
	for tries := range 40 {
		for _, jitter := range []float64{0, 0.5, 0.999} {
			require.GreaterOrEqual(t, again.Delay(tries, jitter), time.Second)
			require.LessOrEqual(t, again.Delay(tries, jitter), 5*time.Minute)
			require.LessOrEqual(t, wait.Delay(tries, jitter), time.Minute)
		}
		require.GreaterOrEqual(t, again.Delay(tries+1, 0), again.Delay(tries, 0))
	}
	require.GreaterOrEqual(t, syncer.Judge(outage(3*time.Minute), 0).Delay(0, 0), 3*time.Minute)
	require.LessOrEqual(t, syncer.Judge(outage(30*24*time.Hour), 0).Delay(0, 0.999), 20*time.Minute, "a system does not get to ask for days")
}
