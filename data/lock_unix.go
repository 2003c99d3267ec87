//go:build unix

package data

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mostLocks is how often a lock is tried for that others remove. One that is never there to open may be a link to nowhere.
const mostLocks = 1000

// lockDir makes dir, says whether it was not there, and waits for the exclusive lock on a file in it. The system drops it when the process ends,
// however it ends.
func lockDir(dir string) (unlock func(), made bool, err error) {
	path := filepath.Join(dir, lockName)
	for try := 0; ; try++ {
		made, err = makeDir(dir)
		if errors.Is(err, os.ErrExist) && try < mostLocks {
			continue // another made dir, so Mkdir failed, and removed it before MkdirAll looked whether it is a folder
		}
		if err != nil {
			return nil, false, err
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
		if errors.Is(err, os.ErrNotExist) && try < mostLocks {
			continue // whoever had made dir has just removed it
		}
		if err != nil {
			return nil, false, err
		}
		for {
			if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
				break
			}
		}
		if err != nil {
			f.Close()
			return nil, false, err
		}
		if isAt(f, path) {
			return func() { f.Close() }, made, nil
		}
		f.Close() // whoever held the lock has removed the file, and others would lock another one
	}
}

// isAt tells whether the file at path is f.
func isAt(f *os.File, path string) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(ours, there)
}
