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

// askToRead asks the first cache for bytes from at on, which a moment later will be read.
//
//go:noescape
func askToRead(at unsafe.Pointer, bytes int)

// askToWrite asks the first cache for bytes from at on as its own, which a moment later will be written.
//
//go:noescape
func askToWrite(at unsafe.Pointer, bytes int)
