//go:build linux && (amd64 || arm64)

package cuda

import (
	"os"
	"path/filepath"
	"sync"
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
	o := Options{Libraries: folders()}
	if dir, err := os.UserCacheDir(); err == nil {
		o.Cache = filepath.Join(dir, "hone", "kernels") // the program's: compiling takes longer than the tests
	}
	compileOnce.Do(func() { compileAll(t, o) })
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return closedAfter(t, d)
}

var compileOnce sync.Once

// compileAll puts all kernels into the cache, side by side, before tests that run side by side would each compile what they share.
func compileAll(t *testing.T, o Options) {
	t.Helper()
	n, err := openNvidia(o)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, file := range filesFor(n.info.arch) {
		all.Go(func() {
			if _, err := n.code(file); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := n.close(); err != nil {
		t.Error(err)
	}
}
