//go:build !windows

package atomicfile

import (
	"errors"
	"syscall"
)

// NoSpace tells whether a disk is full.
func NoSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) }
