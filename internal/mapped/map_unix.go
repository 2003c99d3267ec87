//go:build unix

package mapped

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ahead asks the system to read mapped bytes from the disk, since they will be touched soon. It does not wait.
func Ahead(b []byte) {
	if len(b) == 0 {
		return
	}
	before := int(uintptr(unsafe.Pointer(&b[0])) % uintptr(os.Getpagesize())) // the call wants whole pages
	pages := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(&b[0]), -before)), before+len(b))
	_ = unix.Madvise(pages, unix.MADV_WILLNEED) // a hint: without it the bytes come later
}

func mapFile(f *os.File, size int) ([]byte, func([]byte) error, error) {
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	return data, unix.Munmap, err
}
