package fenced

import (
	"syscall"
	"testing"
	"unsafe"
)

// Memory is Bytes after which there is a page that may not be touched.
type Memory struct{ mem []byte }

// New maps memory until the test ends.
func New(t testing.TB) Memory {
	page := syscall.Getpagesize()
	mem, err := syscall.Mmap(-1, 0, Bytes+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err == nil {
		err = syscall.Mprotect(mem[Bytes:], syscall.PROT_NONE)
	}
	if err != nil {
		t.Fatalf("map fenced memory: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mem) })
	return Memory{mem}
}

// Tail is the last n bytes.
func (m *Memory) Tail(n int) unsafe.Pointer {
	return unsafe.Pointer(&m.mem[:Bytes+1][Bytes-n])
}
