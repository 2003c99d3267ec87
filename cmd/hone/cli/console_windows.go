package cli

import "golang.org/x/sys/windows"

// rewrites has the terminal take escape sequences, which a program on Windows has to ask for, and reports whether it does.
func rewrites(fd uintptr) bool {
	var mode uint32
	if windows.GetConsoleMode(windows.Handle(fd), &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(windows.Handle(fd), mode|windows.ENABLE_PROCESSED_OUTPUT|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
