package data

import (
	"errors"
	"os"
	"path/filepath"

	"hone/internal/filelock"
)

// mostLocks is how often a lock is tried for that others remove. One that is never there to open may be a link to nowhere.
const mostLocks = 1000

// lockDir makes dir, says whether it was not there, and waits for the lock on a file in it. Where nothing can be locked, builds in one folder
// at the same time are the user's to avoid.
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
		switch err = filelock.Wait(f); {
		case errors.Is(err, errors.ErrUnsupported):
			f.Close()
			os.Remove(path)
			return func() {}, made, nil
		case err != nil:
			f.Close()
			return nil, false, err
		case filelock.IsAt(f, path):
			return func() { f.Close() }, made, nil
		}
		f.Close() // whoever held the lock has removed the file, and others would lock another one
	}
}
