package torture

import (
	"fmt"
	"time"
)

// clocks gives each process a clock of its own: the wall clock's seconds are
// moved by what the environment says, elapsed time is not. A static binary
// takes no library such as libfaketime, so the standard library is changed.
func clocks() *Mutation {
	return &Mutation{Name: "clocks", Why: "all wall clocks say the same", Cuts: []Cut{
		{
			File: "$GOROOT/src/time/time.go",
			Old:  "func Now() Time {\n	sec, nsec, mono := runtimeNow()\n",
			New:  "func Now() Time {\n	sec, nsec, mono := runtimeNow()\n	sec += wrongBy\n",
		},
		{
			File: "$GOROOT/src/time/sys_unix.go",
			Old:  "\nfunc interrupt() {",
			New: `
var wrongBy = func() (by int64) {
	text, _ := syscall.Getenv("` + clockVariable + `")
	sign := int64(1)
	for _, c := range text {
		if c == '-' {
			sign = -1
		} else {
			by = by*10 + int64(c-'0')
		}
	}
	return sign * by
}()

func interrupt() {`,
		},
	}}
}

const clockVariable = "TORTURE_CLOCK"

// clock is the environment that sets the nth process's clock: with three of a
// kind one goes right, one ahead and one behind.
func clock(n int, apart time.Duration) string {
	by := []time.Duration{apart, -apart, 0}[n%3]
	return fmt.Sprintf("%s=%d", clockVariable, int64(by.Seconds()))
}
