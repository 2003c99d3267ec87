package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"hone/device"
	"hone/device/cpu"
	"hone/device/cuda"
)

// openDevice opens the device that a recipe names. The caller closes it.
func openDevice(name string, threads int) (dev device.Device, closeDevice func(), err error) {
	return openTimed(name, threads, false)
}

// openTimed is openDevice, with the time that a card takes for each kernel if timing.
func openTimed(name string, threads int, timing bool) (dev device.Device, closeDevice func(), err error) {
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

// kernelTimes are those of the calls since the last time it was asked, of a device opened for it.
func kernelTimes(dev device.Device) ([]cuda.KernelTime, error) {
	if d, ok := dev.(*cuda.Device); ok {
		return d.Times()
	}
	return nil, nil
}

// printKernels shows the share of each kernel in the time that the card was busy.
func printKernels(w io.Writer, times []cuda.KernelTime) {
	sum := 0.0
	for _, t := range times {
		sum += t.Seconds
	}
	for _, t := range times {
		fmt.Fprintf(w, "%5.1f%% %10.3f ms %7d calls %9.1f us  %s\n", 100*t.Seconds/sum, 1e3*t.Seconds, t.Calls, 1e6*t.Seconds/float64(t.Calls), t.Name)
	}
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
