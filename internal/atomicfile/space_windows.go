package atomicfile

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// NoSpace tells whether a disk is full: Windows has numbers of its own for it, and ENOSPC is one of Go's inventions there.
func NoSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) || errors.Is(err, syscall.ENOSPC)
}
