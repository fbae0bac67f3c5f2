package reconcile

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSumsAreThoseOfEachContactsTags(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var s sums
	want := map[uint64]uint64{}
	for tag := range 40 {
		hash := hashOf(textOf(uint64(tag)))
		var ids []uint64
		seen := map[uint64]bool{}
		for range random.IntN(500) {
			id := 1 + random.Uint64N(2000)
			ids = append(ids, id) // some twice
			if !seen[id] {
				seen[id] = true
				want[id] += hash
			}
		}
		s.add(hash, ids)
		if tag%7 == 0 {
			s.merge()
		}
	}
	s.merge()
	s.merge()
	require.Len(t, s.ids, len(want))
	for i, id := range s.ids {
		require.Equal(t, want[id], s.totals[i], "contact %d", id)
		if i > 0 {
			require.Less(t, s.ids[i-1], id)
		}
		at, ok := s.find(id)
		require.True(t, ok)
		require.Equal(t, i, at)
	}
	_, ok := s.find(5000)
	require.False(t, ok)
}
