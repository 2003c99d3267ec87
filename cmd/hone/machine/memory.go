package machine

import (
	"hone/device"
	"hone/device/cpu"
)

// Memory is what Linux or Windows lets the process have of memory and swap, for a device that computes in it; 0 elsewhere. Swap counts: a run that
// uses it is slow and not impossible.
func Memory(dev device.Device) (total int64) {
	if _, ok := dev.(*cpu.Device); !ok {
		return 0
	}
	return systemMemory()
}
