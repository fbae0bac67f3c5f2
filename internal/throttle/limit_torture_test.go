//go:build torture

package throttle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestALimitOf25IsFoundAndKeptFor3Minutes measures the real constants.
func TestALimitOf25IsFoundAndKeptFor3Minutes(t *testing.T) {
	t.Parallel()
	run := limitRun{
		set: 40, allowed: 25, replicas: 4, climb: 20 * time.Second, lasts: 3 * time.Minute, latency: 100 * time.Millisecond,
	}
	got := run.do(t)
	t.Logf("%d calls answered, %d of them refused with 429 (%.2f %%); %.3f of the calls allowed were made; rate at the end %.1f",
		got.answered, got.limited, 100*got.share, got.reached, got.rate)
	require.Less(t, got.share, 0.02)
}
