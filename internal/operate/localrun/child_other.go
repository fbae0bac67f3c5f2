//go:build unix && !linux

package localrun

import "syscall"

// ownGroup keeps a child out of the terminal's signals. A process that is
// killed leaves the child behind here; the folder's lock does not notice it.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
