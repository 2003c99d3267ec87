package bench

import (
	"os"

	"golang.org/x/sys/unix"
)

// forget makes the system drop what it holds of a file in memory, so that the next reader waits for the disk.
func forget(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
