package clock

import (
	"math/bits"
	"syscall"
	"unsafe"
)

var (
	kernel    = syscall.NewLazyDLL("kernel32.dll")
	counter   = kernel.NewProc("QueryPerformanceCounter")
	frequency = func() (perSecond uint64) {
		kernel.NewProc("QueryPerformanceFrequency").Call(uintptr(unsafe.Pointer(&perSecond))) // never fails since Windows XP
		return perSecond
	}()
)

// Now is the time, to less than a microsecond.
func Now() Time {
	var ticks uint64
	counter.Call(uintptr(unsafe.Pointer(&ticks)))
	hi, lo := bits.Mul64(ticks, 1e9)
	ns, _ := bits.Div64(hi, lo, frequency)
	return Time(ns)
}
