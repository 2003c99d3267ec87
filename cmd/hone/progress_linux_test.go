package main

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLiveLine: stdout, as main hands it on, is told to be a terminal, and the line that is rewritten there is no longer than the terminal is wide.
func TestLiveLine(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("this machine has no pseudo-terminals: /dev/ptmx is not there")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 7}); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*progress{"stdout": newProgress(&checked{file: terminal}, 0), "stderr": newProgress(terminal, 0)} {
		if !p.terminal || p.fitted("step 1/10") != "step 1" {
			t.Errorf("%s: a terminal is %v, and its line is %q", name, p.terminal, p.fitted("step 1/10"))
		}
	}
}
