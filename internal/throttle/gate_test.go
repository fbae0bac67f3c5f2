package throttle_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/redisconn/redistest"
	"spillway/internal/throttle"
)

// counted admits everyone and counts who has not ended yet.
type counted struct{ inside int }

func (c *counted) Admit(context.Context) (release func(), err error) {
	c.inside++
	return func() { c.inside-- }, nil
}

func TestGateReleasesWhatTheNextAdmitterGave(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	next := &counted{}
	gate := throttle.NewGate(next, throttle.NewBreaker(server.Client(), throttle.CRM, throttle.BreakerOptions{}))
	release, err := gate.Admit(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, next.inside)
	release()
	require.Zero(t, next.inside)
}
