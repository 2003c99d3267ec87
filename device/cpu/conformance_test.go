package cpu

import (
	"fmt"
	"testing"

	"hone/device"
	"hone/device/cpu/vec"
	"hone/device/devicetest"
)

var _ device.Device = (*Device)(nil)

// TestConformance runs the suite on each of kernelPaths, with -short on the best and on the portable routines.
func TestConformance(t *testing.T) {
	for i, path := range kernelPaths() {
		if testing.Short() && i > 0 && path.vec != vec.Generic {
			continue
		}
		for _, threads := range []int{3, 1} {
			if threads == 1 && (testing.Short() || i > 0 || path.vec == vec.Generic) {
				continue // TestThreadsGiveSameBits compares the two
			}
			t.Run(fmt.Sprintf("%s/%s/threads=%d", path.gemm.Name, path.vec, threads), func(t *testing.T) {
				devicetest.Run(t, func(t *testing.T) device.Device {
					d := newDevice(threads, 0, path.gemm, path.vec)
					t.Cleanup(d.Close)
					return d
				})
			})
		}
	}
}
