//go:build unix && !aix

package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Try locks f, or is ErrHeld at once where another has it.
func Try(f *os.File) error { return flock(f, unix.LOCK_EX|unix.LOCK_NB) }

// Wait locks f as soon as no other has it.
func Wait(f *os.File) error { return flock(f, unix.LOCK_EX) }

func flock(f *os.File, how int) error {
	for {
		switch err := unix.Flock(int(f.Fd()), how); {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrHeld
		case errors.Is(err, unix.ENOLCK), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EBADF): // the last is NFS's of a folder: f is open
			return errors.ErrUnsupported
		default:
			return err
		}
	}
}

// tryFolder locks the folder f, which was opened as dir, until release, which closes it.
func tryFolder(f *os.File, dir string) (release func(), err error) {
	err = Try(f)
	if err == nil && !IsAt(f, dir) { // one that failed or was refused has just removed it
		err = ErrHeld
	}
	return func() { f.Close() }, err
}
