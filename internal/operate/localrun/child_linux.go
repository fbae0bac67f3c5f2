package localrun

import "syscall"

// ownGroup keeps a child out of the terminal's signals, and ends it when this
// process dies without having stopped it.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
