//go:build linux && (amd64 || arm64)

package cuda

import (
	"testing"

	"hone/device"
	"hone/device/devicetest"
)

// TestConformanceEmulated runs the suite with the kernels on the host.
func TestConformanceEmulated(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) device.Device { return openEmulated(t, rising, false) })
}

// TestMemoryAndRaces runs the suite with buffers that end where the memory does, and each kernel in two orders of its threads.
func TestMemoryAndRaces(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) device.Device { return openLate(t, both, true, kernelsLate) })
}

// TestConformance runs the suite on the card.
func TestConformance(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) device.Device { return openCard(t) })
}

// openCard opens the first card. Without a card, its driver or one of the libraries the test is skipped.
func openCard(t *testing.T) *Device {
	t.Helper()
	needCard(t)
	needLibrary(t, libraryNVRTC)
	needLibrary(t, libraryLt)
	d, err := Open(Options{Libraries: folders()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}
