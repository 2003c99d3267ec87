//go:build (linux || darwin) && !race

package cpu

import (
	"testing"
	"unsafe"

	"hone/device"
)

// TestAllocApart: buffers of 2ⁿ bytes are not 2ⁿ bytes apart, neither in a set of the first cache nor in bits 12 to 27 folded,
// where one reservation holds them all.
func TestAllocApart(t *testing.T) {
	d := newTestDevice(t, Options{Threads: 1})
	seen := map[uintptr]bool{}
	for range 8 {
		at := uintptr(unsafe.Pointer(unsafe.SliceData(f32s(d.Alloc(1<<24, device.F32)))))
		place := at % 4096
		for i := range 8 {
			place |= (at>>(12+i) ^ at>>(27-i)) & 1 << (12 + i)
		}
		if seen[place] {
			t.Errorf("two of eight buffers of 64 MiB fall on %#x", place)
		}
		seen[place] = true
	}
}
