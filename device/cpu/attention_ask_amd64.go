//go:build !noasm

package cpu

import "unsafe"

// askToRead asks the second cache for the bytes at the beginning of rows that are stride bytes apart.
//
//go:noescape
func askToRead(at unsafe.Pointer, bytes, stride, rows int)

// askToWrite is askToRead for what will be written: the first cache gets it as its core's own.
//
//go:noescape
func askToWrite(at unsafe.Pointer, bytes, stride, rows int)
