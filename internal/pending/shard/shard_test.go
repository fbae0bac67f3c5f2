package shard_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/pending/shard"
)

func TestContactsAreSpreadEvenlyAndStay(t *testing.T) {
	t.Parallel()
	require.Equal(t, shard.Queues{"spillway"}, shard.Over(contact.DefaultSite, 0))
	queues := shard.Over(contact.DefaultSite, 8)
	counts := map[string]int{}
	for i := range 80_000 {
		counts[queues.Of(contact.Ref{Site: contact.DefaultSite, ID: strconv.Itoa(1_000_000 + i)})]++
	}
	for _, queue := range queues {
		require.InDelta(t, 10_000, counts[queue], 1_000)
	}
	// Records lie where these say, over all versions.
	for id, queue := range map[string]string{"1": "spillway-7", "123": "spillway-4", "999999999999999999": "spillway-2"} {
		require.Equal(t, queue, queues.Of(contact.Ref{Site: contact.DefaultSite, ID: id}), id)
	}
}
