//go:build !windows

package cli

import (
	"errors"
	"syscall"
)

// rewrites says that terminals take escape sequences.
func rewrites(uintptr) bool { return true }

// ReaderGone tells whether a write failed because nobody reads the pipe any more.
func ReaderGone(err error) bool { return errors.Is(err, syscall.EPIPE) }
