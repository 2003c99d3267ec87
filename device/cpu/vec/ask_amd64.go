//go:build !noasm

package vec

import "unsafe"

// AskToRead asks the second cache for the bytes at the beginning of rows that are stride bytes apart. It is no method of Path: it is as good
// on each, and changes no result.
//
//go:noescape
func AskToRead(at unsafe.Pointer, bytes, stride, rows int)

// AskToWrite is AskToRead for what will be written: the first cache gets it as its core's own.
//
//go:noescape
func AskToWrite(at unsafe.Pointer, bytes, stride, rows int)
