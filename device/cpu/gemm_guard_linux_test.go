package cpu

import (
	"syscall"
	"testing"
	"unsafe"
)

// guarded is memory after which there is a page that may not be touched.
type guarded struct{ mem []byte }

const guardedBytes = 1 << 20

func newGuarded(t *testing.T) guarded {
	page := syscall.Getpagesize()
	mem, err := syscall.Mmap(-1, 0, guardedBytes+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err == nil {
		err = syscall.Mprotect(mem[guardedBytes:], syscall.PROT_NONE)
	}
	if err != nil {
		t.Fatalf("map guarded memory: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mem) })
	return guarded{mem}
}

// tail is the last n bytes.
func (m *guarded) tail(n int) unsafe.Pointer {
	return unsafe.Pointer(&m.mem[:guardedBytes+1][guardedBytes-n])
}
