package lm

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// ownMemory is what the process has in memory that is no file's, or had there and is swapped out, and what of
// files it has mapped. What is resident would grow and shrink with what else the machine has to hold.
func ownMemory() (bytes int64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		var name string
		var kib int64
		if n, _ := fmt.Sscan(line, &name, &kib); n == 2 && (name == "RssAnon:" || name == "VmSwap:") {
			bytes += kib << 10
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(maps)) {
		var from, to, inode int64
		var rights, offset, device string
		if n, _ := fmt.Sscanf(line, "%x-%x %s %s %s %d", &from, &to, &rights, &offset, &device, &inode); n == 6 && inode != 0 {
			bytes += to - from
		}
	}
	return bytes
}

// keepPagesSmall has the system make no huge pages of the process's memory until the test ends, as it may by
// itself at any time, also where most of them is free.
func keepPagesSmall(t *testing.T) {
	t.Helper()
	if unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0) != nil {
		return // a kernel built without them refuses
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_THP_DISABLE, 0, 0, 0, 0) })
}
