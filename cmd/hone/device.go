package main

import (
	"fmt"

	"hone/device"
	"hone/device/cpu"
)

// openDevice opens the device that a recipe names. The caller closes it.
func openDevice(name string, threads int) (dev device.Device, closeDevice func(), err error) {
	if name != "cpu" {
		return nil, nil, fmt.Errorf("device %q is unknown; use cpu", name)
	}
	if threads < 0 {
		return nil, nil, fmt.Errorf("threads is %d; use a positive number, or 0 for all cores", threads)
	}
	d := cpu.New(cpu.Options{Threads: threads})
	return d, func() { d.Close() }, nil
}
