//go:build linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"hone/device"
	"hone/device/cuda/kernels"
	"hone/device/cuda/toolkit"
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
	needLibrary(t, toolkit.NVRTC)
	needLibrary(t, toolkit.CublasLt)
	o := Options{Libraries: folders()}
	if dir, err := os.UserCacheDir(); err == nil {
		o.Cache = filepath.Join(dir, "hone", "kernels") // the program's: compiling takes longer than the tests
	}
	compileOnce.Do(func() { compileAll(t, o) })
	if *allSpeak {
		o.Cache = speakingCache
	}
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return closedAfter(t, d)
}

var compileOnce sync.Once

// allSpeak is for racecheck, which does not see that a thread speaks for its warp: each speaks for itself.
var allSpeak = flag.Bool("all-speak", false, "kernels in which every thread tells that it has read a tile, from a cache of their own")

// speaking is a file of kernels in which every thread speaks for itself.
func speaking(file string) string {
	return strings.Replace(kernels.Source(file), "constexpr int SPEAKS = WARP;", "constexpr int SPEAKS = 1;", 1)
}

// compileAll puts all kernels into the cache, side by side, before tests that run side by side would each compile what they share.
func compileAll(t *testing.T, o Options) {
	t.Helper()
	n, err := openNvidia(o)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, file := range kernels.FilesFor(n.info.arch) {
		all.Go(func() {
			code, err := n.code(file)
			if err == nil && *allSpeak {
				err = n.keepSpeaking(file, code)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := n.close(); err != nil {
		t.Error(err)
	}
}

// speakingCache has the kernels of allSpeak.
var speakingCache = filepath.Join(os.TempDir(), "hone-kernels-all-speak")

// keepSpeaking puts a file of kernels, which is compiled to code, there, compiled anew where every thread is to speak for itself.
func (n *nvidia) keepSpeaking(file string, code []byte) (err error) {
	if text := speaking(file); text != kernels.Source(file) {
		if code, _, err = n.compiler.Compile(kernels.Target(file, n.info.arch), file, text); err != nil {
			return err
		}
	}
	return errors.Join(os.MkdirAll(speakingCache, 0o755), os.WriteFile(filepath.Join(speakingCache, kernels.CacheName(file, kernels.Source(file), n.info.arch, n.compiler.Version)), code, 0o644))
}
