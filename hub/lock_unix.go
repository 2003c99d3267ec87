//go:build unix

package hub

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock keeps other programs from writing the same file; it ends when the file is closed.
func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
