package cpu

import (
	"fmt"
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/internal/cpuid"
)

var _ device.Device = (*Device)(nil)

// TestConformance runs the suite on the fastest and on the portable routines.
func TestConformance(t *testing.T) {
	generic := genericGemmKernels(cpuid.Host())
	for _, path := range []struct {
		vec     vecPath
		gemm    *gemmKernels
		threads []int
	}{{vecBest(), hostGemmKernels(), []int{1, 3}}, {pathGeneric, generic, []int{3}}} {
		for _, threads := range path.threads {
			t.Run(fmt.Sprintf("%s/%s/threads=%d", path.gemm.name, path.vec, threads), func(t *testing.T) {
				best := vecUse
				t.Cleanup(func() { vecUse = best })
				vecUse = path.vec
				devicetest.Run(t, func(t *testing.T) device.Device {
					d := newDevice(threads, 0, path.gemm)
					t.Cleanup(d.Close)
					return d
				})
			})
		}
	}
}
