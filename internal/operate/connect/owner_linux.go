package connect

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// sharedMode is the mode of a file that its group may read.
const sharedMode = 0o640

// giveTo gives a file the owner and mode of the one that it replaces. A new one
// gets the owner of its folder, and the group may read it if the folder passes
// its group on (the set-group-ID bit): so the services read the folder of sites
// that the Debian package makes. Only root changes the owner.
func giveTo(file, replaced, folder string) error {
	like, err := os.Stat(replaced)
	if errors.Is(err, fs.ErrNotExist) {
		like, err = os.Stat(folder)
	}
	if err != nil {
		return err
	}
	owner, ok := like.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(file, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	switch mode := like.Mode(); {
	case mode.IsRegular() && mode.Perm() == sharedMode, mode.IsDir() && mode&fs.ModeSetgid != 0:
		return os.Chmod(file, sharedMode)
	}
	return nil
}
