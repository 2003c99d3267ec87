//go:build !linux

package fenced

import (
	"testing"
	"unsafe"
)

// Memory is plain memory where there is no portable way to protect a page.
type Memory struct{ mem []byte }

// New makes memory.
func New(testing.TB) Memory { return Memory{make([]byte, Bytes+64)} }

// Tail is n bytes.
func (m *Memory) Tail(n int) unsafe.Pointer { return unsafe.Pointer(&m.mem[Bytes-n]) }
