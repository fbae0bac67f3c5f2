package worker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// fill takes handlers for a site until it has to wait.
func fill(s *share, site string) (leaves []func()) {
	for leave := s.take(site); leave != nil; leave = s.take(site) {
		leaves = append(leaves, leave)
	}
	return leaves
}

func TestASiteAloneHasAllHandlers(t *testing.T) {
	s := newShare(6)
	s.among(1)
	require.Len(t, fill(s, "a"), 6)
	require.Nil(t, s.take("a"))
}

func TestEachSiteFindsAHandlerWhoeverIsBusy(t *testing.T) {
	s := newShare(6)
	s.among(3)
	first := fill(s, "a")
	require.Len(t, first, 4, "two thirds")
	require.Len(t, fill(s, "b"), 1)
	last := s.take("c")
	require.NotNil(t, last, "a third site finds one")
	require.Nil(t, s.take("d"), "there is none left")
	last()
	for _, leave := range first {
		leave()
	}
	require.NotEmpty(t, fill(s, "b"), "what was left is there for others")
}
