package mapped

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// reserve makes a file size bytes long and takes the room for them, without writing where the file system can.
func reserve(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return writeZeros(f, size)
	}
	return err
}
