// Package machine is what the machine has: devices and memory, which hone doctor tells of, and the models of a hub in its cache, where hone pull puts them.
package machine

import (
	"fmt"
	"os"
	"path/filepath"

	"hone/device"
	"hone/device/cpu"
	"hone/device/cuda"
)

// OpenDevice opens the device that a recipe names. The caller closes it.
func OpenDevice(name string, threads int) (dev device.Device, closeDevice func(), err error) {
	return OpenTimed(name, threads, false)
}

// OpenTimed is OpenDevice, with the time that a card takes for each kernel if timing.
func OpenTimed(name string, threads int, timing bool) (dev device.Device, closeDevice func(), err error) {
	kind, index, err := device.ParseName(name)
	if err != nil {
		return nil, nil, err
	}
	if threads < 0 || threads > device.MaxThreads {
		return nil, nil, fmt.Errorf("threads is %d; use a number up to %d, or 0 for all cores", threads, device.MaxThreads)
	}
	if kind == "cuda" {
		o := cudaOptions()
		o.Index, o.Timing = index, timing
		d, err := cuda.Open(o)
		if err != nil {
			return nil, nil, fmt.Errorf("device %s cannot be opened: %w", name, err)
		}
		return d, func() { _ = d.Close() }, nil // what failed has been reported by a step
	}
	if timing {
		return nil, nil, fmt.Errorf("only a card times its kernels; use --device cuda")
	}
	d := cpu.New(cpu.Options{Threads: threads})
	return d, func() { d.Close() }, nil
}

// cudaOptions say where this machine has NVIDIA's libraries, and where compiled kernels are kept.
func cudaOptions() cuda.Options {
	var o cuda.Options
	// where toolkits and Python environments put the libraries
	for _, name := range []string{"CUDA_HOME", "CUDA_PATH", "VIRTUAL_ENV", "CONDA_PREFIX"} {
		if dir := os.Getenv(name); dir != "" {
			o.Libraries = append(o.Libraries, dir)
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		o.Libraries = append(o.Libraries, filepath.Join(home, ".local"))
	}
	if dir, err := os.UserCacheDir(); err == nil {
		o.Cache = filepath.Join(dir, "hone", "kernels")
	}
	return o
}
