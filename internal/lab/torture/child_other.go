//go:build !linux

package torture

import "syscall"

func ownGroup() *syscall.SysProcAttr { return nil }
