//go:build (linux || darwin) && !race

package cpu

import "golang.org/x/sys/unix"

// segmentLarge is address space only: pages become memory when touched.
const segmentLarge = 64 << 30

// mapBytes reserves n bytes of zeroed memory that cost nothing until touched; nil when it cannot.
func mapBytes(n int64) []byte {
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

func unmapBytes(b []byte) {
	// Only a slice that Mmap did not make fails here.
	if err := unix.Munmap(b); err != nil {
		panic("cpu: " + err.Error())
	}
}
