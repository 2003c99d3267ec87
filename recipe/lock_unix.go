//go:build unix

package recipe

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// errHeld says that another process holds a folder.
var errHeld = errors.New("another run is at work in this folder")

// hold locks the folder itself, so that no file is left behind, until release is called or the process ends in any way. It is errHeld where
// another run has it; a file system that cannot lock leaves it to the user.
func hold(dir string) (release func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	ours, unknown := f.Stat()
	there, missing := os.Stat(dir)
	if errors.Is(err, unix.EWOULDBLOCK) || unknown == nil && (missing != nil || !os.SameFile(ours, there)) { // or a run that was refused has just removed it
		f.Close()
		return nil, errHeld
	}
	return func() { f.Close() }, nil
}
