// Package journal keeps the notes of a long command in a file, a line of JSON
// for each step, so that it goes on from there after an interruption.
//
// It guarantees: one process at a time has a file open. Lines are read back in
// the order in which they were written, one at a time, so a long journal takes
// little memory. A line that was cut off is dropped and overwritten, and so is
// everything after a line that does not count.
//
// Limits: a line is handed to the operating system, not forced to the disk. A
// machine that dies may lose the last ones, whose steps are then done again.
package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// ErrBusy says that another process has the journal.
var ErrBusy = errors.New("the journal is in use")

// File is a journal that is open.
type File struct {
	path string
	file *os.File
}

// folderMode and fileMode are for the one who made a journal. Below a folder that
// passes its group on (the set-group-ID bit) the group shares it, so that each
// of its members can go on with what another one began.
const (
	folderMode, fileMode             = 0o700, os.FileMode(0o600)
	sharedFolderMode, sharedFileMode = 0o770 | os.ModeSetgid, os.FileMode(0o660)
)

// makeFolder makes the folder of a journal, if it is missing, and returns the mode
// of the files in it.
func makeFolder(folder string) (os.FileMode, error) {
	if err := os.MkdirAll(folder, folderMode); err != nil {
		return 0, err
	}
	parent, err := os.Stat(filepath.Dir(folder))
	if err != nil {
		return 0, err
	}
	if parent.Mode()&os.ModeSetgid == 0 {
		return fileMode, nil
	}
	_ = os.Chmod(folder, sharedFolderMode) // whose folder it is not cannot, and need not
	return sharedFileMode, nil
}

// Open opens the journal at path, and makes it and its folder if they are
// missing. It hands each line to replay, numbered from 0; replay returns false for
// a line that does not count.
func Open(path string, replay func(number int, line []byte) bool) (*File, error) {
	mode, err := makeFolder(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("making the folder of the journal: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	if mode != fileMode {
		_ = file.Chmod(mode)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, ErrBusy
	}
	f := &File{path: path, file: file}
	length, err := f.replay(replay)
	if err == nil {
		err = f.cut(length)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return f, nil
}

// replay reads the lines that count, and returns their length.
func (f *File) replay(each func(number int, line []byte) bool) (length int64, err error) {
	reader := bufio.NewReaderSize(f.file, 64<<10)
	for number := 0; ; number++ {
		line, err := reader.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("reading the journal %s: %w", f.path, err)
		}
		if err != nil || !each(number, bytes.TrimSuffix(line, []byte("\n"))) {
			return length, nil
		}
		length += int64(len(line))
	}
}

// cut drops what follows the lines that count.
func (f *File) cut(length int64) error {
	err := f.file.Truncate(length)
	if err == nil {
		_, err = f.file.Seek(length, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("preparing the journal %s: %w", f.path, err)
	}
	return nil
}

// Note writes a step.
func (f *File) Note(step any) error {
	line, err := json.Marshal(step)
	if err == nil {
		_, err = f.file.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("writing the journal %s: %w", f.path, err)
	}
	return nil
}

// Remove removes the journal of a run that has come to its end.
func (f *File) Remove() error {
	if err := os.Remove(f.path); err != nil {
		return fmt.Errorf("removing the journal of the finished run: %w", err)
	}
	return nil
}

// Close lets another process have the journal.
func (f *File) Close() error {
	// Closing alone leaves the lock to a child that is between fork and exec.
	unlocked := syscall.Flock(int(f.file.Fd()), syscall.LOCK_UN)
	return errors.Join(unlocked, f.file.Close())
}
