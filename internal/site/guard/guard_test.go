package guard_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"spillway/internal/contact"
	"spillway/internal/lab/redistest"
	"spillway/internal/site/guard"
)

func TestTheGuardIsSharedAndFollowsLatency(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	here, err := guard.New(server.Client(), contact.DefaultSite, 50)
	require.NoError(t, err)
	there, err := guard.New(server.Client(), contact.DefaultSite, 50)
	require.NoError(t, err)
	ctx := t.Context()

	const quick = 300 * time.Millisecond
	var usual time.Duration
	for range 4 { // full requests that are quick
		here.Sending(ctx)
		usual = here.Answered(ctx, here.Batch(), quick, 250*time.Millisecond)
		require.Greater(t, usual, quick, "the page has more than half of the time for itself")
		require.Less(t, usual, 2*quick)
	}
	require.Equal(t, 50, here.Batch())
	require.Zero(t, here.Answered(ctx, 2, quick, 250*time.Millisecond), "one or two contacts are no burst")
	there.Sending(ctx)
	require.Equal(t, 50, there.Batch(), "what one replica learned holds for the other")

	here.Answered(ctx, 50, 4*time.Second, 4*time.Second-50*time.Millisecond)
	require.Equal(t, 25, here.Batch(), "a request holds what fits into 2 seconds")

	pauses := func(requests, contacts int, took time.Duration) (pause time.Duration) {
		for range requests {
			pause = here.Answered(ctx, contacts, took, 250*time.Millisecond)
		}
		return pause
	}
	waiting := 450 * time.Millisecond // for a PHP worker
	require.Greater(t, pauses(12, 10, waiting), 2*waiting, "the site is slower than usual: the slot rests longer")
	require.Positive(t, pauses(1, 1, waiting), "after a lone contact, too")
	require.Equal(t, usual, pauses(40, 10, quick), "and is pressed again when it is as fast as ever")
	require.Zero(t, pauses(1, 1, quick))

	batch := here.Batch()
	require.Positive(t, here.Refused(ctx, time.Second), "a busy site is left alone at once")
	require.Less(t, here.Batch(), batch)
}

func TestOnlyASiteWithProcessorsToSpareIsPressedAllTheTime(t *testing.T) {
	t.Parallel()
	g, err := guard.New(redistest.Start(t).Client(), contact.DefaultSite, 50)
	require.NoError(t, err)
	ctx := t.Context()
	const page, slow, request = 50 * time.Millisecond, 70 * time.Millisecond, time.Second
	for range 5 {
		g.PageTook(ctx, page, true)
	}
	g.Sending(ctx)
	usual := g.Answered(ctx, 50, request, request)
	require.Positive(t, usual)
	pages := func(took ...time.Duration) (pause time.Duration) {
		for range 20 {
			for _, t := range took {
				g.PageTook(ctx, t, false)
			}
		}
		return g.Answered(ctx, 50, request, request)
	}
	require.Zero(t, pages(page), "no page is slower, not even beside a request")
	require.Equal(t, usual, pages(page, page, page, slow), "those beside a request are slower")
	require.Greater(t, pages(slow), usual, "most are slower")
}

// With two requests at once the first answer does not make the site quiet.
func TestAPageIsUsualOnlyWhileNoRequestOfAnyReplicaIsUnderWay(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var guards [2]*guard.Guard
	for i := range guards {
		var err error
		guards[i], err = guard.New(server.Client(), contact.DefaultSite, 50)
		require.NoError(t, err)
	}
	busy := func() bool {
		busy, err := guards[0].Busy(t.Context())
		require.NoError(t, err)
		return busy
	}
	require.False(t, busy())
	for _, pair := range [][2]*guard.Guard{{guards[0], guards[1]}, {guards[0], guards[0]}} {
		first, second := pair[0], pair[1]
		first.Sending(t.Context())
		second.Sending(t.Context())
		first.Answered(t.Context(), 10, time.Second, time.Second)
		require.True(t, busy(), "one of two is answered, the other is under way")
		second.Unsent(t.Context())
		require.False(t, busy())
	}
	guards[1].Sending(t.Context())
	guards[1].Refused(t.Context(), time.Second)
	require.False(t, busy())
}

func TestTheGuardWorksOnWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	g, err := guard.New(server.Client(), contact.DefaultSite, 50)
	require.NoError(t, err)
	g.Sending(t.Context())
	batch := g.Batch()
	server.Kill()
	require.Positive(t, g.Refused(t.Context(), time.Second))
	require.Less(t, g.Batch(), batch)
}
