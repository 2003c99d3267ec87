//go:build !amd64 || noasm

package vec

import "unsafe"

// AskToRead would ask for memory that is soon read; no kernel here is fast enough to wait for it.
func AskToRead(unsafe.Pointer, int, int, int) {}

// AskToWrite would ask for memory that is soon written.
func AskToWrite(unsafe.Pointer, int, int, int) {}
