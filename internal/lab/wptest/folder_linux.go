package wptest

import (
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// memory is a folder that Linux keeps in memory. A WordPress is thousands of
// files, and making them on a disk is half of what a start costs.
const memory = "/dev/shm"

// room is what must be free there: some sites at once, with the databases of
// networks, take less than 1 GB.
const room = 2 << 30

// prefix begins the names of sites' folders, and of nobody else's: those left
// behind are found by it and deleted.
const prefix = "spillway-wptest-"

// makeFolder makes an empty folder for a site and opens it. As long as it is
// open no other process takes it for one that was left behind.
func makeFolder(onDisk bool) (*os.File, error) {
	parent := os.TempDir()
	var free syscall.Statfs_t
	if err := syscall.Statfs(memory, &free); err == nil && !onDisk && free.Bavail*uint64(free.Bsize) > room {
		parent = memory
	}
	deleteLeftBehind(parent)
	path, err := os.MkdirTemp(parent, prefix) // no test's TempDir, which holds its name: a socket's path may have 107 bytes
	if err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return dir, syscall.Flock(int(dir.Fd()), syscall.LOCK_SH)
}

// deleteLeftBehind deletes the folders of processes that have died. A folder is
// locked soon after it is made, so younger ones stay.
func deleteLeftBehind(parent string) {
	found, _ := filepath.Glob(filepath.Join(parent, prefix+"*"))
	for _, path := range found {
		if info, err := os.Stat(path); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		dir, err := os.Open(path)
		if err != nil {
			continue
		}
		if syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(path)
		}
		_ = dir.Close()
	}
}
