package cuda

import (
	"bytes"
	"fmt"
	"os"

	"hone/device"
)

var _ device.Apart = (*Device)(nil)

// HostFree is four fifths of the memory that Linux says is available; 0 where that is not known.
func (d *Device) HostFree() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10 / 5 * 4
		}
	}
	return 0
}
