//go:build unix

package data

import (
	"errors"
	"syscall"
)

// isLoop reports whether a path has links that lead in a circle.
func isLoop(err error) bool { return errors.Is(err, syscall.ELOOP) }
