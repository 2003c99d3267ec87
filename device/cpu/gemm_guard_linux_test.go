package cpu

import (
	"syscall"
	"testing"
	"unsafe"
)

// fenced is memory after which there is a page that may not be touched.
type fenced struct{ mem []byte }

const fencedBytes = 1 << 20

func newFenced(t *testing.T) fenced {
	page := syscall.Getpagesize()
	mem, err := syscall.Mmap(-1, 0, fencedBytes+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err == nil {
		err = syscall.Mprotect(mem[fencedBytes:], syscall.PROT_NONE)
	}
	if err != nil {
		t.Fatalf("map fenced memory: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mem) })
	return fenced{mem}
}

// tail is the last n bytes.
func (m *fenced) tail(n int) unsafe.Pointer {
	return unsafe.Pointer(&m.mem[:fencedBytes+1][fencedBytes-n])
}
