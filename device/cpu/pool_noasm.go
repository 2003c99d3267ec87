//go:build !amd64 || noasm

package cpu

import (
	"runtime"
	"unsafe"
)

// spinPause gives other goroutines a chance; there is no instruction for waiting here.
func spinPause(int) { runtime.Gosched() }

const fetchBytes = 12 * 64

// fetchLines and fetchThirds would ask for memory; no kernel here is fast enough to wait for it.
func fetchLines(uintptr)  {}
func fetchThirds(uintptr) {}

// askToRead and askToWrite would ask for memory as well.
func askToRead(unsafe.Pointer, int, int, int)  {}
func askToWrite(unsafe.Pointer, int, int, int) {}
