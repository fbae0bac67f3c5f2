package admin

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWrongPasswordsAreLimitedPerClientAndOverAll(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	a := newAttempts(func() time.Time { return now })
	wrong, right := func() bool { return false }, func() bool { return true }
	never := func() bool { require.Fail(t, "a held password was checked"); return true }

	ok, wait := a.try("operator", right)
	require.True(t, ok)
	require.Zero(t, wait)
	for range clientBurst {
		ok, wait = a.try("one", wrong)
		require.False(t, ok)
		require.Zero(t, wait)
	}
	ok, wait = a.try("one", never)
	require.False(t, ok)
	require.InDelta(t, clientRefill.Seconds(), wait.Seconds(), 1)

	// Many clients share what is left over all.
	for i := range globalBurst - clientBurst {
		_, wait = a.try(fmt.Sprint("many", i), wrong)
		require.Zero(t, wait)
	}
	_, wait = a.try("fresh", never)
	require.Positive(t, wait)
	for range 1000 { // who has the password is not shut out, however often
		ok, wait = a.try("operator", right)
		require.True(t, ok)
		require.Zero(t, wait)
	}

	now = now.Add(clientRefill)
	_, wait = a.try("one", wrong)
	require.Zero(t, wait)
	_, wait = a.try("one", never)
	require.Positive(t, wait)
}

func TestTheMemoryOfAttemptsIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	a := newAttempts(func() time.Time { return now })
	ok, _ := a.try("operator", func() bool { return true })
	require.True(t, ok)
	for i := range maxClients + 50 {
		now = now.Add(globalRefill)
		_, _ = a.try(fmt.Sprint(i), func() bool { return false })
		require.LessOrEqual(t, len(a.clients), maxClients)
	}
	require.Contains(t, a.clients, "operator")
}
