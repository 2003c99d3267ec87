package mapped

import (
	"fmt"
	"os"
)

// Scratch is memory that a file without a name stands behind: it can be written, the system may move what is not in use to the
// disk, and it is gone with the process.
type Scratch struct {
	data  []byte
	unmap func([]byte) error
}

// NewScratch makes size bytes of zeros with a file in dir. The room on the disk is taken at once, so that a full disk is an
// error here and not a crash later.
func NewScratch(dir string, size int64) (s *Scratch, err error) {
	if size == 0 {
		return &Scratch{unmap: func([]byte) error { return nil }}, nil
	}
	f, err := os.CreateTemp(dir, ".paged-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close() // a mapping outlives its descriptor
	if err := reserve(f, size); err != nil {
		return nil, fmt.Errorf("take %d bytes of disk in %s: %w", size, dir, err)
	}
	data, unmap, err := mapShared(f, size)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of %s into memory: %w", size, dir, err)
	}
	return &Scratch{data, unmap}, nil
}

// Bytes is the memory.
func (s *Scratch) Bytes() []byte { return s.data }

// Evict lets go of the whole pages among bytes lo to hi; they come back from the file when touched.
func (s *Scratch) Evict(lo, hi int64) {
	page := int64(os.Getpagesize())
	lo = (lo + page - 1) / page * page
	if hi < int64(len(s.data)) { // the last page is nobody else's
		hi = hi / page * page
	}
	if lo < hi {
		evict(s.data[lo:hi])
	}
}

// Close gives memory and disk back; a second Close does nothing.
func (s *Scratch) Close() error {
	if s.data == nil {
		return nil
	}
	data := s.data
	s.data = nil
	return s.unmap(data)
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
