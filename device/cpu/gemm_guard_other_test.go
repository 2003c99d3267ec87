//go:build !linux

package cpu

import (
	"testing"
	"unsafe"
)

// guarded is plain memory where there is no portable way to protect a page.
type guarded struct{ mem []byte }

const guardedBytes = 1 << 20

func newGuarded(*testing.T) guarded { return guarded{make([]byte, guardedBytes+64)} }

// tail is n bytes.
func (m *guarded) tail(n int) unsafe.Pointer { return unsafe.Pointer(&m.mem[guardedBytes-n]) }
