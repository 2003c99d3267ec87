//go:build unix

package data

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockDir makes dir and waits for the exclusive lock on a file in it. The system drops it when the process ends, however it ends.
func lockDir(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, lockName)
	for {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return nil, err
		}
		for {
			if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
				break
			}
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		if isAt(f, path) {
			return func() { f.Close() }, nil
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
