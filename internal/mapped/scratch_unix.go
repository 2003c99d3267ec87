//go:build unix

package mapped

import (
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

func mapShared(f *os.File, size int64) ([]byte, func([]byte) error, error) {
	if size > math.MaxInt {
		return nil, nil, fmt.Errorf("%d bytes are too many for this machine's address space", size)
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return data, unix.Munmap, err
}

func evict(pages []byte) {
	// Advice that is not taken costs memory and nothing else.
	_ = unix.Madvise(pages, unix.MADV_DONTNEED)
}
