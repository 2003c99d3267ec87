//go:build !noasm

package cpu

import "unsafe"

// spinPause tells the core n times that it is in a waiting loop.
//
//go:noescape
func spinPause(n int)

// fetchBytes is what fetchLines asks for.
const fetchBytes = 12 * 64

// fetchLines asks for fetchBytes bytes from at on, to the second cache, and waits about as long as they take: what is
// asked for while too much is on its way is forgotten.
//
//go:noescape
func fetchLines(at uintptr)

// fetchThirds asks for as many lines from at on, of which it leaves out two behind each, and does not wait: an Intel core presumably forgets none, and
// takes 140 cycles for a PAUSE.
//
//go:noescape
func fetchThirds(at uintptr)

// askToRead asks the second cache for the bytes at the beginning of rows that are stride bytes apart.
//
//go:noescape
func askToRead(at unsafe.Pointer, bytes, stride, rows int)

// askToWrite is askToRead for what will be written: the first cache gets it as its core's own.
//
//go:noescape
func askToWrite(at unsafe.Pointer, bytes, stride, rows int)
