//go:build unix

package mapped

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func mapScratch(dir string, size int) ([]byte, func([]byte) error, error) {
	f, err := os.CreateTemp(dir, ".paged.tmp-*") // as atomicfile.Clean knows it, for a crash before it is gone
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() // a mapping outlives its descriptor
	defer os.Remove(f.Name())
	if err := reserve(f, int64(size)); err != nil {
		return nil, nil, fmt.Errorf("take %d bytes of disk in %s: %w", size, dir, err)
	}
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map %d bytes of %s into memory: %w", size, dir, err)
	}
	return data, unix.Munmap, nil
}

// writeZeros makes a file size bytes long and takes the room for them.
func writeZeros(f *os.File, size int64) error {
	zeros := make([]byte, 1<<20)
	for left := size; left > 0; {
		n, err := f.Write(zeros[:min(left, int64(len(zeros)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

func evict(pages []byte) {
	// Advice that is not taken costs memory and nothing else.
	_ = unix.Madvise(pages, unix.MADV_DONTNEED)
}
