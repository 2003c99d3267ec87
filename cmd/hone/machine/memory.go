package machine

import (
	"bytes"
	"fmt"
	"os"

	"hone/device"
	"hone/device/cpu"
)

// Memory is what Linux says that the machine has of memory and swap, for a device that computes in it; 0 elsewhere.
func Memory(dev device.Device) (total int64) {
	if _, ok := dev.(*cpu.Device); !ok {
		return 0
	}
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	// Swap counts: a run that uses it is slow and not impossible.
	for line := range bytes.Lines(text) {
		var name string
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "%s %d kB", &name, &kib); n == 2 && (name == "MemTotal:" || name == "SwapTotal:") {
			total += kib << 10
		}
	}
	return total
}
