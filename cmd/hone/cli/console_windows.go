package cli

import (
	"errors"

	"golang.org/x/sys/windows"
)

// rewrites has the terminal take escape sequences, which a program on Windows has to ask for, and reports whether it does.
func rewrites(fd uintptr) bool {
	var mode uint32
	if windows.GetConsoleMode(windows.Handle(fd), &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(windows.Handle(fd), mode|windows.ENABLE_PROCESSED_OUTPUT|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}

// ReaderGone tells whether a write failed because nobody reads the pipe any more. EPIPE is one of Go's inventions on Windows.
func ReaderGone(err error) bool {
	return errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_NO_DATA)
}
