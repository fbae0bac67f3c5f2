//go:build torture

package throttle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/throttle"
)

// TestAHundredThousandContactsSurviveTwoHours plays two hours in two minutes:
// the pauses are a sixtieth of the real ones.
func TestAHundredThousandContactsSurviveTwoHours(t *testing.T) {
	t.Parallel()
	run := outageRun{
		contacts: 100_000, lasts: 2 * time.Minute, rate: 2000, concurrency: 64,
		breaker: throttle.BreakerOptions{First: 5 * time.Second / 60, Longest: time.Second, Ramp: 10 * time.Second},
	}
	got := run.do(t)
	t.Logf("during: %d calls to the CRM, %d requests to the site, %d wake-ups taken from the queue", got.callsDuring, got.requestsDuring, got.wakeUpsDuring)
	t.Logf("after: drained within %v; seconds %+v", got.took, got.after)
	require.Less(t, got.wakeUpsDuring, int64(20*2*run.concurrency))
}
