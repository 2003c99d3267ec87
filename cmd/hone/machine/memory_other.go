//go:build !windows

package machine

import (
	"bytes"
	"fmt"
	"os"
)

// systemMemory is that of Linux, 0 elsewhere.
func systemMemory() (total int64) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		var name string
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "%s %d kB", &name, &kib); n == 2 && (name == "MemTotal:" || name == "SwapTotal:") {
			total += kib << 10
		}
	}
	return total
}
