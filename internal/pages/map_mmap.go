//go:build (linux || darwin) && !race

package pages

import "golang.org/x/sys/unix"

// Reserve is how much to map at a time where nobody knows how much will be needed: address space only, pages become memory when touched.
const Reserve = 64 << 30

// Map reserves n bytes of zeroed memory that cost nothing until touched; nil when it cannot.
func Map(n int64) []byte {
	if int64(int(n)) != n {
		return nil
	}
	b, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		return nil
	}
	adviseHuge(b)
	return b
}

// Unmap gives b back, which Map made.
func Unmap(b []byte) {
	// Only a slice that Mmap did not make fails here.
	if err := unix.Munmap(b); err != nil {
		panic("pages: " + err.Error())
	}
}
