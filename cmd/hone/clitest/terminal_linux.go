package clitest

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Keyboard opens a new pseudo-terminal at the end where keys are typed and the page is read, until the test is over. A test is skipped on a
// machine that makes none.
func Keyboard(t *testing.T) *os.File {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("this machine has no pseudo-terminals: /dev/ptmx is not there")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	return keys
}
