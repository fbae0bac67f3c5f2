// Package freeport finds addresses for servers of tests that are told where to
// listen.
package freeport

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Addr returns an address of this machine whose port stays free while nobody
// listens on it, also while its server is down: it is below those that the
// kernel gives to outgoing connections, of which there are many, and to
// listeners on port 0.
func Addr() (string, error) {
	var failure error
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(12000+rand.IntN(20000)))
		listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
		if err == nil {
			return addr, listener.Close()
		}
		failure = err
	}
	return "", fmt.Errorf("finding a free port: %w", failure)
}
