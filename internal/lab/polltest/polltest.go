// Package polltest waits in tests for what has no signal of its own.
//
// Conditions run on the test's own goroutine: they may use require, and none
// outlives its test, as one of testify's Eventually and Never can.
package polltest

import (
	"testing"
	"time"
)

// interval is how long lies between two looks.
const interval = 10 * time.Millisecond

// Until returns once the condition holds, and fails the test when it does not
// within the time. Choose the time for a machine that is far slower than yours:
// it is spent only by a test that fails.
func Until(t testing.TB, within time.Duration, holds func() bool, what string) {
	t.Helper()
	if !poll(within, holds) {
		t.Fatalf("%s: not within %v", what, within)
	}
}

// Throughout looks at the condition for as long as said, and fails the test as
// soon as it does not hold.
func Throughout(t testing.TB, period time.Duration, holds func() bool, what string) {
	t.Helper()
	if poll(period, func() bool { return !holds() }) {
		t.Fatalf("%s: no longer", what)
	}
}

// poll tells whether the condition came to hold in time. It looks at least once
// and once more at the end.
func poll(within time.Duration, holds func() bool) bool {
	end := time.After(within)
	look := time.NewTicker(interval)
	defer look.Stop()
	for {
		if holds() {
			return true
		}
		select {
		case <-look.C:
		case <-end:
			return holds()
		}
	}
}
