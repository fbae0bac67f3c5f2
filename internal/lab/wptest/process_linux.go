package wptest

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// owner is the account that the servers run as.
type owner struct{ uid, gid int }

// currentOwner is nil for the current user. Neither MariaDB nor php-fpm likes
// to run as root; for root it is www-data, which every Debian has.
func currentOwner() *owner {
	if os.Geteuid() != 0 {
		return nil
	}
	account, err := user.Lookup("www-data")
	if err != nil {
		return nil
	}
	uid, errUID := strconv.Atoi(account.Uid)
	gid, errGID := strconv.Atoi(account.Gid)
	if errUID != nil || errGID != nil {
		return nil
	}
	return &owner{uid: uid, gid: gid}
}

// take makes the owner of everything under dir.
func (o *owner) take(dir string) error {
	if o == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, o.uid, o.gid)
	})
}

// attributes give a process a group of its own, to be ended with its children,
// and end it when the test's process dies without cleaning up.
func (o *owner) attributes() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if o != nil {
		attributes.Credential = &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}
	}
	return attributes
}

func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// killGroup ends a process and its children at once.
func killGroup(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGKILL) }
