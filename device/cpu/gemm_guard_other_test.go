//go:build !linux

package cpu

import (
	"testing"
	"unsafe"
)

// fenced is plain memory where there is no portable way to protect a page.
type fenced struct{ mem []byte }

const fencedBytes = 1 << 20

func newFenced(*testing.T) fenced { return fenced{make([]byte, fencedBytes+64)} }

// tail is n bytes.
func (m *fenced) tail(n int) unsafe.Pointer { return unsafe.Pointer(&m.mem[fencedBytes-n]) }
