package reconcile

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// In 95 of 100 samples the truth lies in the interval.
func TestEstimateHoldsTheTruth(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	const all, rounds = 2000, 1000
	for _, differ := range []int{0, 3, 40, 400, 1000, 2000} {
		for _, sampled := range []int{20, 200, 1900} {
			held := 0
			for range rounds {
				found := 0
				for _, at := range random.Perm(all)[:sampled] {
					if at < differ {
						found++
					}
				}
				likely, least, most := estimate(found, sampled, all)
				require.LessOrEqual(t, least, likely)
				require.LessOrEqual(t, likely, most)
				if least <= differ && differ <= most {
					held++
				}
			}
			require.GreaterOrEqual(t, held, rounds*92/100, "%d of %d differ, %d sampled", differ, all, sampled)
		}
	}
	for _, differ := range []int{0, 7, all} {
		likely, least, most := estimate(differ, all, all)
		require.Equal(t, []int{differ, differ, differ}, []int{likely, least, most}, "all were compared")
	}
	likely, least, most := estimate(0, 0, all)
	require.Equal(t, []int{0, 0, all}, []int{likely, least, most}, "none was")
}
