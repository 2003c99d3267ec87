package atomicfile

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// TestNoSpace: a full disk is told as that by Windows' own numbers.
func TestNoSpace(t *testing.T) {
	for _, number := range []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL} {
		err := plain(&os.PathError{Op: "write", Path: "x", Err: number})
		if !NoSpace(err) || !strings.HasSuffix(err.Error(), "free some space and start again") {
			t.Errorf("%v", err)
		}
	}
	if NoSpace(windows.ERROR_ACCESS_DENIED) {
		t.Error("a file that may not be written is told as a full disk")
	}
}
