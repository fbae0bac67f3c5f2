package freeport_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"spillway/internal/lab/freeport"
)

func TestAnAddressCanBeListenedOnAndIsBelowTheKernels(t *testing.T) {
	t.Parallel()
	for range 20 {
		addr, err := freeport.Addr()
		require.NoError(t, err)
		listener, err := net.Listen("tcp", addr)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, listener.Close()) })
		require.Less(t, listener.Addr().(*net.TCPAddr).Port, 32768)
	}
}
