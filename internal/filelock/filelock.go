// Package filelock locks files and folders for one process at a time. The system drops a lock when its file is closed or the process ends,
// however it ends. A lock is advice: it keeps out only those that ask for it.
//
// Not every system and file system has such locks (AIX, NFS for folders). There Try and Wait say errors.ErrUnsupported, and
// to have one process at a time is left to the user.
package filelock

import (
	"errors"
	"os"
)

// ErrHeld says that another process has the lock, or another open file of this one.
var ErrHeld = errors.New("it is locked by another process")

// IsAt tells whether path is still the file f. Whoever held a lock before may have removed or replaced its file, and then f's lock is one that
// nobody else asks for.
func IsAt(f *os.File, path string) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(ours, there)
}

// Folder locks the folder dir itself, so that no file is left behind, until release is called or the process ends in any way. It is ErrHeld where
// another has it; where folders cannot be locked, to have one process at a time is left to the user.
func Folder(dir string) (release func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	release, err = tryFolder(f, dir)
	if err == nil {
		return release, nil
	}
	f.Close()
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return func() {}, err
}
